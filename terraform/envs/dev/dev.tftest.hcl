mock_provider "google" {}

variables {
  project_id    = "p-1"
  deployed      = true
  image_tag     = "v1"
  on_call_email = "ops@example.org"
}

run "the_daemon_may_do_this_and_nothing_else" {
  command = plan
  assert {
    condition = toset([for it in output.access : "${it.role} ${it.on}" if startswith(it.member, "serviceAccount:tidemill-daemon@")]) == toset([
      "roles/logging.logWriter project",
      "tidemill: loads project",
      "roles/bigquery.dataEditor dataset agg",
      "roles/storage.objectUser bucket p-1-tidemill-lake",
      "roles/storage.bucketViewer bucket p-1-tidemill-lake",
      "roles/artifactregistry.reader images",
    ])
    error_message = "A role more or less than the daemon needs."
  }
}

run "the_outputs_hold_what_tidemill_needs" {
  command = plan
  assert {
    condition     = output.tidemill.kafka.brokers == "b1.kafka.internal:9092,b2.kafka.internal:9092,b3.kafka.internal:9092" && output.tidemill.lake.url == "gs://p-1-tidemill-lake"
    error_message = "Brokers and lake."
  }
  assert {
    condition     = output.tidemill.warehouse.location == "europe-west1" && output.tidemill.warehouse.project == "p-1"
    error_message = "Lake and warehouse are in one place."
  }
}

run "before_the_first_image_there_is_no_daemon" {
  command = plan
  variables {
    deployed  = false
    image_tag = null
  }
  assert {
    condition     = output.daemon == null && length(output.alerts) == 0
    error_message = "Nothing to run yet, and nothing to tell of."
  }
}
