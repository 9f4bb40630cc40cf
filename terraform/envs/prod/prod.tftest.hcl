mock_provider "google" {}

variables {
  project_id    = "p-1"
  deployed      = true
  image_tag     = "v1"
  on_call_email = "ops@example.org"
}

run "brokers_are_in_three_zones" {
  command = plan
  assert {
    condition     = length(distinct(values(output.broker_zones))) == 3
    error_message = "A zone may go."
  }
}

run "the_managed_cluster_takes_the_place_of_the_vms" {
  command = plan
  variables {
    kafka                       = "managed"
    managed_kafka_without_login = true
  }
  assert {
    condition     = output.tidemill.kafka.brokers == "bootstrap.tidemill-kafka.europe-west1.managedkafka.p-1.cloud.goog:9092" && output.broker_zones == null
    error_message = "One of the two, never both."
  }
  assert {
    condition     = length([for it in output.access : it if strcontains(it.member, "tidemill-kafka@")]) == 0
    error_message = "No account for brokers that are not ours."
  }
}

run "the_daemon_may_do_this_and_nothing_else" {
  command = plan
  variables {
    datasets = ["agg", "sales"]
  }
  assert {
    condition = toset([for it in output.access : "${it.role} ${it.on}" if startswith(it.member, "serviceAccount:tidemill-daemon@")]) == toset([
      "roles/logging.logWriter project",
      "tidemill: loads project",
      "roles/bigquery.dataEditor dataset agg",
      "roles/bigquery.dataEditor dataset sales",
      "roles/storage.objectUser bucket p-1-tidemill-lake",
      "roles/storage.bucketViewer bucket p-1-tidemill-lake",
      "roles/artifactregistry.reader images",
    ])
    error_message = "A role more or less than the daemon needs."
  }
}

run "analysts_query_and_read_no_file" {
  command = plan
  variables {
    analysts = ["group:analysts@example.org"]
  }
  assert {
    condition     = [for it in output.access : "${it.role} ${it.on}" if it.member == "group:analysts@example.org"] == ["roles/bigquery.dataViewer dataset agg"]
    error_message = "They view the dataset."
  }
}

run "the_lake_is_in_the_region_unless_asked" {
  command = plan
  assert {
    condition     = output.tidemill.warehouse.location == "europe-west1"
    error_message = "A multi-region costs more."
  }
}

run "the_lake_may_be_in_a_multi_region" {
  command = plan
  variables {
    location = "EU"
  }
  assert {
    condition     = output.tidemill.warehouse.location == "EU"
    error_message = "Where it was asked for."
  }
}

run "any_region_has_zones_for_it" {
  command = plan
  variables {
    region       = "us-central1"
    broker_zones = { "1" = "a", "2" = "b", "3" = "f" }
    state_disks  = { "1" = { zone = "c" } }
  }
  assert {
    condition     = tomap(output.broker_zones) == tomap({ "1" = "us-central1-a", "2" = "us-central1-b", "3" = "us-central1-f" }) && output.daemon_zone == "us-central1-c"
    error_message = "Letters are given, for brokers and daemon apart."
  }
}
