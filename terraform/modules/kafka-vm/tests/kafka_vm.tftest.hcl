mock_provider "google" {}

variables {
  project_id      = "p-1"
  region          = "europe-west1"
  name            = "t-kafka"
  zones           = ["europe-west1-b", "europe-west1-c", "europe-west1-d"]
  network_id      = "projects/p-1/global/networks/t"
  subnet_id       = "projects/p-1/regions/europe-west1/subnetworks/t-kafka"
  client_cidr     = "10.20.0.0/24"
  service_account = "kafka@p-1.iam.gserviceaccount.com"
  kafka_image     = "europe-west1-docker.pkg.dev/p-1/t-mirror/apache/kafka:4.1.0"
  machine_type    = "e2-small"
  heap_mb         = 768
  disk_gb         = 20
  deletion_policy = "PREVENT"
}

run "brokers_are_in_three_zones" {
  command = plan
  assert {
    condition     = sort(values(output.zones)) == sort(var.zones)
    error_message = "One in each."
  }
  assert {
    condition     = alltrue([for id, it in google_compute_disk.data : it.zone == google_compute_instance.broker[id].zone])
    error_message = "With its disk."
  }
}

run "two_zones_are_refused" {
  command = plan
  variables {
    zones = ["europe-west1-b", "europe-west1-c"]
  }
  expect_failures = [var.zones]
}

run "a_zone_twice_is_refused" {
  command = plan
  variables {
    zones = ["europe-west1-b", "europe-west1-c", "europe-west1-c"]
  }
  expect_failures = [var.zones]
}

run "brokers_have_no_public_address" {
  command = plan
  assert {
    condition     = alltrue(flatten([for it in google_compute_instance.broker : [for nic in it.network_interface : length(nic.access_config) == 0 && length(nic.ipv6_access_config) == 0]]))
    error_message = "An access_config is a public address."
  }
  assert {
    condition     = alltrue([for it in google_compute_address.broker : it.address_type == "INTERNAL"])
    error_message = "Their fixed addresses are the subnet's."
  }
}

run "names_are_known_in_the_vpc_only" {
  command = plan
  assert {
    condition     = google_dns_managed_zone.kafka.visibility == "private" && length(google_dns_managed_zone.kafka.private_visibility_config) == 1
    error_message = "A private zone."
  }
}

run "clients_come_from_the_daemons_subnet_only" {
  command = plan
  assert {
    condition     = google_compute_firewall.clients.source_ranges == toset([var.client_cidr]) && google_compute_firewall.clients.target_service_accounts == toset([var.service_account])
    error_message = "Nobody else speaks to 9092."
  }
  assert {
    condition     = flatten([for it in google_compute_firewall.clients.allow : it.ports]) == ["9092"]
    error_message = "The controllers' port is the brokers' own."
  }
}

run "only_brokers_vote" {
  command = plan
  assert {
    condition     = google_compute_firewall.brokers.source_service_accounts == toset([var.service_account]) && google_compute_firewall.brokers.source_ranges == null
    error_message = "9093 is open among brokers."
  }
}

run "clients_from_everywhere_are_refused" {
  command = plan
  variables {
    client_cidr = "0.0.0.0/0"
  }
  expect_failures = [var.client_cidr]
}

run "disks_are_kept_and_have_snapshots" {
  command = plan
  assert {
    condition     = alltrue([for it in google_compute_disk.data : it.deletion_policy == "PREVENT"])
    error_message = "Destroy stops here."
  }
  assert {
    condition     = length(google_compute_disk_resource_policy_attachment.data) == 3 && google_compute_resource_policy.snapshots.snapshot_schedule_policy[0].retention_policy[0].max_retention_days == 7
    error_message = "Each disk, each day, for a week."
  }
}

run "a_row_is_on_two_disks_before_it_is_acknowledged" {
  command = plan
  assert {
    condition     = alltrue([for it in google_compute_instance.broker : strcontains(it.metadata["user-data"], "KAFKA_DEFAULT_REPLICATION_FACTOR=3") && strcontains(it.metadata["user-data"], "KAFKA_MIN_INSYNC_REPLICAS=2")])
    error_message = "Three copies, two of them in time."
  }
}

run "the_own_key_encrypts" {
  command = plan
  variables {
    kms_key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = alltrue([for it in google_compute_disk.data : it.disk_encryption_key[0].kms_key_self_link == var.kms_key])
    error_message = "The data disks' key."
  }
}

run "an_image_that_can_change_is_refused" {
  command = plan
  variables {
    kafka_image = "europe-west1-docker.pkg.dev/p-1/t-mirror/apache/kafka:latest"
  }
  expect_failures = [var.kafka_image]
}

run "machines_boot_what_they_should_and_take_no_project_keys" {
  command = plan
  assert {
    condition     = alltrue([for it in google_compute_instance.broker : it.shielded_instance_config[0].enable_secure_boot && it.metadata["block-project-ssh-keys"] == "TRUE" && it.metadata["enable-oslogin"] == "TRUE"])
    error_message = "Secure boot, OS Login."
  }
}
