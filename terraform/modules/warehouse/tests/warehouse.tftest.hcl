mock_provider "google" {}

variables {
  project_id      = "p-1"
  name            = "t-m"
  location        = "EU"
  bucket          = "lake"
  writer          = "serviceAccount:daemon@p-1.iam.gserviceaccount.com"
  deletion_policy = "PREVENT"
}

run "the_daemon_writes_its_datasets_and_reads_no_other" {
  command = plan
  variables {
    external_tables = { "raw.recentchange" = {} }
    datasets        = ["agg", "sales"]
  }
  assert {
    condition     = toset([for it in google_bigquery_dataset_iam_member.writer : "${it.dataset_id} ${it.role}"]) == toset(["agg roles/bigquery.dataEditor", "sales roles/bigquery.dataEditor"])
    error_message = "Editor of what it writes, nothing on raw."
  }
  assert {
    condition     = output.grants[0].role == "t-m: loads" && google_project_iam_custom_role.loads.permissions == toset(["bigquery.jobs.create", "bigquery.jobs.list"])
    error_message = "In the project it may only start jobs, and list its own."
  }
}

run "tables_of_the_warehouse_are_tidemills" {
  command = plan
  variables {
    external_tables = { "raw.recentchange" = {} }
  }
  assert {
    condition     = alltrue([for it in google_bigquery_table.exposed : length(it.external_data_configuration) == 1]) && !contains([for it in google_bigquery_table.exposed : it.dataset_id], "agg")
    error_message = "Terraform makes external tables only, in datasets of their own."
  }
}

run "external_tables_read_the_lakes_directories" {
  command = plan
  variables {
    external_tables = { "raw.recentchange" = {}, "raw.orders" = { grain = "day" } }
  }
  assert {
    condition     = google_bigquery_table.exposed["raw.recentchange"].external_data_configuration[0].hive_partitioning_options[0].source_uri_prefix == "gs://lake/raw/recentchange/{dt:DATE}/{hour:INTEGER}"
    error_message = "dt=2026-11-20/hour=05."
  }
  assert {
    condition     = google_bigquery_table.exposed["raw.orders"].external_data_configuration[0].hive_partitioning_options[0].source_uri_prefix == "gs://lake/raw/orders/{dt:DATE}"
    error_message = "dt=2026-11-20."
  }
}

run "a_query_without_a_partition_is_refused" {
  command = plan
  variables {
    external_tables = { "raw.recentchange" = {} }
  }
  assert {
    condition     = google_bigquery_table.exposed["raw.recentchange"].external_data_configuration[0].hive_partitioning_options[0].require_partition_filter
    error_message = "A query over all of it bills all of it."
  }
}

run "readers_query_without_a_right_on_the_bucket" {
  command = apply
  variables {
    external_tables = { "raw.recentchange" = {} }
    readers         = ["group:analysts@example.org"]
  }
  assert {
    condition     = toset([for it in google_bigquery_dataset_iam_member.reader : "${it.dataset_id} ${it.role}"]) == toset(["agg roles/bigquery.dataViewer", "raw roles/bigquery.dataViewer"])
    error_message = "They view the datasets."
  }
  assert {
    condition     = [for it in google_storage_bucket_iam_member.connection : it.role] == ["roles/storage.objectViewer"]
    error_message = "The connection reads the files for them."
  }
}

run "the_public_cannot_query" {
  command = plan
  variables {
    readers = ["allAuthenticatedUsers"]
  }
  expect_failures = [var.readers]
}

run "an_external_table_cannot_stand_in_for_one_of_tidemills" {
  command = plan
  variables {
    external_tables = { "agg.recentchange_by_hour" = {} }
  }
  expect_failures = [var.external_tables]
}

run "the_own_key_encrypts" {
  command = plan
  variables {
    kms_key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = google_bigquery_dataset.written["agg"].default_encryption_configuration[0].kms_key_name == var.kms_key
    error_message = "New tables take the dataset's key."
  }
}

run "a_slip_does_not_destroy_a_dataset" {
  command = plan
  assert {
    condition     = google_bigquery_dataset.written["agg"].deletion_policy == "PREVENT" && google_bigquery_dataset.written["agg"].delete_contents_on_destroy == false
    error_message = "Destroy stops here."
  }
}

# Google frees the id of a deleted role after 37 days.
run "a_role_can_be_made_again_soon_after_it_was_deleted" {
  command = apply
  assert {
    condition     = can(regex("^t_m_loads_[0-9a-f]{8}$", google_project_iam_custom_role.loads.role_id))
    error_message = "Each has an id of its own."
  }
  assert {
    condition     = google_project_iam_member.runs_jobs.role == "projects/p-1/roles/${google_project_iam_custom_role.loads.role_id}"
    error_message = "And the daemon has that one."
  }
}

run "two_deployments_have_two_connections" {
  command = plan
  variables {
    external_tables = { "raw.recentchange" = {} }
  }
  assert {
    condition     = google_bigquery_connection.lake[0].connection_id == "t-m-lake"
    error_message = "Its id has the name of the deployment."
  }
}
