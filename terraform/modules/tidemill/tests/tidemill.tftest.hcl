mock_provider "google" {}

variables {
  project_id          = "p-1"
  env                 = "test"
  region              = "europe-west1"
  location            = "EU"
  on_call_email       = "ops@example.org"
  kafka               = "managed"
  runtime             = "worker_pool"
  broker_machine_type = "e2-small"
  broker_heap_mb      = 768
  broker_disk_gb      = 20
  daemon_machine_type = "e2-small"
  deletion_policy     = "DELETE"
}

run "another_kafka_is_refused" {
  command = plan
  variables {
    kafka = "confluent"
  }
  expect_failures = [var.kafka]
}

run "a_store_is_made_only_where_asked" {
  command = plan
  assert {
    condition     = output.tidemill.store == null && length(module.store) == 0
    error_message = "This version of Tidemill would not use it."
  }
}

run "only_the_apis_that_are_called_are_enabled" {
  command = plan
  assert {
    condition     = !contains(module.project.services, "sqladmin.googleapis.com") && !contains(module.project.services, "dns.googleapis.com") && contains(module.project.services, "managedkafka.googleapis.com")
    error_message = "Each API is something more that may be called."
  }
}
