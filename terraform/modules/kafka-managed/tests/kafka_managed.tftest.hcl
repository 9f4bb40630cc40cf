mock_provider "google" {}

variables {
  project_id      = "p-1"
  region          = "europe-west1"
  name            = "t-kafka"
  subnet_id       = "projects/p-1/regions/europe-west1/subnetworks/t-kafka"
  client          = "serviceAccount:daemon@p-1.iam.gserviceaccount.com"
  deletion_policy = "PREVENT"
}

run "it_is_reached_from_the_vpc_only" {
  command = plan
  assert {
    condition     = length(google_managed_kafka_cluster.kafka.gcp_config[0].access_config[0].public_cluster_config) == 0 && google_managed_kafka_cluster.kafka.gcp_config[0].access_config[0].network_configs[0].subnet == var.subnet_id
    error_message = "No public addresses."
  }
}

run "the_daemon_is_a_client_and_no_more" {
  command = plan
  assert {
    condition     = [for it in output.grants : "${it.member} ${it.role}"] == ["${var.client} roles/managedkafka.client"]
    error_message = "It connects; it administers no cluster."
  }
}

run "fewer_than_one_vcpu_a_zone_are_refused" {
  command = plan
  variables {
    vcpus = 2
  }
  expect_failures = [var.vcpus]
}

run "clients_are_told_to_use_tls" {
  command = plan
  assert {
    condition     = output.properties["security.protocol"] == "SASL_SSL"
    error_message = "With tokens: SASL over TLS."
  }
}

run "client_certificates_have_their_own_port" {
  command = plan
  variables {
    ca_pool = "projects/p-1/locations/europe-west1/caPools/c"
  }
  assert {
    condition     = output.properties["security.protocol"] == "SSL" && endswith(output.brokers, ":9192")
    error_message = "mTLS is on 9192."
  }
}

run "the_own_key_encrypts" {
  command = plan
  variables {
    kms_key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = google_managed_kafka_cluster.kafka.gcp_config[0].kms_key == var.kms_key
    error_message = "The cluster's key."
  }
}

run "a_slip_does_not_destroy_it" {
  command = plan
  assert {
    condition     = google_managed_kafka_cluster.kafka.deletion_policy == "PREVENT"
    error_message = "Destroy stops here."
  }
}

run "clients_are_told_which_login" {
  command = plan
  assert {
    condition     = output.properties["sasl.mechanism"] == "OAUTHBEARER"
    error_message = "Without it a client asks for Kerberos."
  }
}
