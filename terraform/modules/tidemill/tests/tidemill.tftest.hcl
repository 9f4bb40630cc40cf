mock_provider "google" {}

variables {
  project_id                  = "p-1"
  env                         = "test"
  region                      = "europe-west1"
  location                    = "EU"
  on_call_email               = "ops@example.org"
  kafka                       = "managed"
  managed_kafka_without_login = true
  runtime                     = "worker_pool"
  broker_machine_type         = "e2-small"
  broker_heap_mb              = 768
  broker_disk_gb              = 20
  daemon_machine_type         = "e2-small"
  deletion_policy             = "DELETE"
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

# It would cost some $250 a month, and this version of Tidemill cannot log in.
run "a_cluster_that_nobody_can_use_is_refused" {
  command = plan
  variables {
    managed_kafka_without_login = false
  }
  expect_failures = [var.kafka]
}

run "an_apply_that_forgets_the_image_is_refused" {
  command = plan
  variables {
    deployed = true
  }
  expect_failures = [var.image_tag]
}

run "a_key_of_another_region_is_refused" {
  command = plan
  variables {
    location = "europe-west1"
    kms_key  = "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"
  }
  expect_failures = [var.kms_key]
}

run "a_lake_without_a_key_beside_disks_with_one_is_refused" {
  command = plan
  variables {
    kms_key = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
  }
  expect_failures = [var.lake_kms_key]
}

run "a_lake_with_a_key_of_elsewhere_is_refused" {
  command = plan
  variables {
    lake_kms_key = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
  }
  expect_failures = [var.lake_kms_key]
}

run "a_lake_in_a_multi_region_has_its_own_key" {
  command = plan
  variables {
    kms_key      = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
    lake_kms_key = "projects/p/locations/europe/keyRings/r/cryptoKeys/l"
  }
  assert {
    condition     = module.keys[0].keys.storage == var.lake_kms_key && module.keys[0].keys.bigquery == var.lake_kms_key
    error_message = "Bucket and datasets."
  }
  assert {
    condition     = module.keys[0].keys.artifactregistry == var.kms_key && module.keys[0].keys.run == var.kms_key && module.keys[0].keys.compute == null
    error_message = "And the region's for what is there; there is no VM."
  }
}

run "one_key_does_where_all_is_in_one_region" {
  command = plan
  variables {
    location = "europe-west1"
    kms_key  = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = module.keys[0].keys.storage == var.kms_key && module.keys[0].keys.managedkafka == var.kms_key
    error_message = "The lake takes it too."
  }
}

run "a_daemon_may_be_moved_while_data_is_kept" {
  command = plan
  variables {
    runtime                = "mig"
    deployed               = true
    image_tag              = "v1"
    deletion_policy        = "PREVENT"
    daemon_deletion_policy = "DELETE"
  }
  assert {
    condition     = module.daemon.deletion_policies == { daemon = "DELETE", disks = "PREVENT" }
    error_message = "The group may go, its disk may not."
  }
}
