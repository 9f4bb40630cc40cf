mock_provider "google" {}

variables {
  project_id      = "p-1"
  name            = "lake"
  location        = "EU"
  writer          = "serviceAccount:daemon@p-1.iam.gserviceaccount.com"
  cold_after_days = 60
  retention_days  = 400
  deletion_policy = "PREVENT"
}

run "the_bucket_is_private" {
  command = plan
  assert {
    condition     = google_storage_bucket.lake.public_access_prevention == "enforced"
    error_message = "No object may become public."
  }
}

run "rights_are_the_buckets_never_an_objects" {
  command = plan
  assert {
    condition     = google_storage_bucket.lake.uniform_bucket_level_access
    error_message = "Objects have no lists of their own."
  }
}

# What was never completed is no object: its rule may reach everywhere.
run "no_lifecycle_rule_reaches_tidemills_records" {
  command = plan
  assert {
    condition     = length([for rule in google_storage_bucket.lake.lifecycle_rule : rule if one(rule.action).type != "AbortIncompleteMultipartUpload"]) == 2
    error_message = "Cold and gone, and no third one."
  }
  assert {
    condition = alltrue(flatten([
      for rule in google_storage_bucket.lake.lifecycle_rule : one(rule.action).type == "AbortIncompleteMultipartUpload" ? [] : [
        for it in rule.condition : try(length(it.matches_prefix), 0) > 0 && alltrue([for prefix in coalesce(it.matches_prefix, []) : startswith(prefix, "raw/")])
      ]
    ]))
    error_message = "Every rule names prefixes, and none is that of _tidemill/."
  }
}

run "a_prefix_that_reaches_tidemills_records_is_refused" {
  command = plan
  variables {
    aging_prefixes = ["raw/", "_tidemill/"]
  }
  expect_failures = [var.aging_prefixes]
}

run "a_prefix_of_everything_is_refused" {
  command = plan
  variables {
    aging_prefixes = [""]
  }
  expect_failures = [var.aging_prefixes]
}

run "files_are_kept_as_long_as_asked" {
  command = plan
  assert {
    condition     = [for rule in google_storage_bucket.lake.lifecycle_rule : one(rule.condition).age if one(rule.action).type == "Delete"] == [400]
    error_message = "retention_days is the age of the delete rule."
  }
}

run "files_are_kept_for_ever_unless_asked" {
  command = plan
  variables {
    cold_after_days = null
    retention_days  = null
  }
  assert {
    condition     = [for rule in google_storage_bucket.lake.lifecycle_rule : one(rule.action).type] == ["AbortIncompleteMultipartUpload"]
    error_message = "No rule, no end."
  }
}

run "parts_of_a_killed_upload_are_removed" {
  command = plan
  assert {
    condition     = [for rule in google_storage_bucket.lake.lifecycle_rule : one(rule.condition).age if one(rule.action).type == "AbortIncompleteMultipartUpload"] == [1]
    error_message = "After a day; they cost as much as an object."
  }
}

run "a_retention_that_late_rows_would_outlive_is_refused" {
  command = plan
  variables {
    retention_days = 7
  }
  expect_failures = [var.retention_days]
}

run "files_that_would_go_before_they_turn_cold_are_refused" {
  command = plan
  variables {
    retention_days = 45
  }
  expect_failures = [google_storage_bucket.lake]
}

run "what_was_deleted_can_be_brought_back" {
  command = plan
  assert {
    condition     = google_storage_bucket.lake.soft_delete_policy[0].retention_duration_seconds == 604800
    error_message = "Seven days, unless more is asked for."
  }
}

run "the_own_key_encrypts" {
  command = plan
  variables {
    kms_key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = google_storage_bucket.lake.encryption[0].default_kms_key_name == var.kms_key
    error_message = "The bucket's default key."
  }
}

run "what_is_no_key_is_refused" {
  command = plan
  variables {
    kms_key = "my-key"
  }
  expect_failures = [var.kms_key]
}

run "only_the_daemon_writes" {
  command = plan
  variables {
    readers = ["group:analysts@example.org"]
  }
  assert {
    condition     = toset([for it in output.grants : "${it.member} ${it.role}"]) == toset(["${var.writer} roles/storage.objectUser", "${var.writer} roles/storage.bucketViewer", "group:analysts@example.org roles/storage.objectViewer"])
    error_message = "The daemon makes and replaces objects, readers read; nobody administers."
  }
}

run "the_public_cannot_be_a_reader" {
  command = plan
  variables {
    readers = ["allUsers"]
  }
  expect_failures = [var.readers]
}

run "a_slip_does_not_destroy_the_lake" {
  command = plan
  assert {
    condition     = google_storage_bucket.lake.deletion_policy == "PREVENT" && google_storage_bucket.lake.force_destroy == false
    error_message = "Destroy stops here."
  }
}
