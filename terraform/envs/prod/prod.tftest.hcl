mock_provider "google" {}

variables {
  project_id    = "p-1"
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
    kafka = "managed"
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
      "projects/p-1/roles/tidemill_loads project",
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
