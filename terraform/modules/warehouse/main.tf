# BigQuery datasets and who may do what in them. The tables of the warehouse are Tidemill's: it makes
# each with the partitioning that its loads need, and a second maker would fight it. External tables
# over the lake are made here: Tidemill knows nothing of them.

locals {
  exposed = { for name, table in var.external_tables : name => merge(table, {
    dataset = split(".", name)[0]
    table   = split(".", name)[1]
    path    = "gs://${var.bucket}/${replace(name, ".", "/")}/"
    # As the lake's directories are named. The types are given: a month would be guessed to be text.
    keys = { hour = "{dt:DATE}/{hour:INTEGER}", day = "{dt:DATE}", month = "{dt:STRING}" }[table.grain]
  }) }
  raw_datasets = toset([for table in local.exposed : table.dataset])
}

resource "google_bigquery_dataset" "written" {
  for_each                   = var.datasets
  project                    = var.project_id
  dataset_id                 = each.value
  location                   = var.location
  description                = "Tables that Tidemill makes and loads, partition by partition"
  labels                     = var.labels
  delete_contents_on_destroy = var.delete_contents
  deletion_policy            = var.deletion_policy

  dynamic "default_encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }
}

resource "google_bigquery_dataset" "exposed" {
  for_each                   = local.raw_datasets
  project                    = var.project_id
  dataset_id                 = each.value
  location                   = var.location
  description                = "External tables over the lake's Hive directories"
  labels                     = var.labels
  delete_contents_on_destroy = true # Only definitions: the rows are in the lake.
  deletion_policy            = "DELETE"

  dynamic "default_encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }
}

# Those who query read the files as this connection: nobody else needs a right on the bucket.
resource "google_bigquery_connection" "lake" {
  count         = length(local.exposed) > 0 ? 1 : 0
  project       = var.project_id
  connection_id = "${var.name}-lake"
  location      = var.location
  description   = "Reads the lake for external tables"
  cloud_resource {}
}

resource "google_storage_bucket_iam_member" "connection" {
  count  = length(local.exposed) > 0 ? 1 : 0
  bucket = var.bucket
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_bigquery_connection.lake[0].cloud_resource[0].service_account_id}"
}

resource "google_bigquery_table" "exposed" {
  for_each            = local.exposed
  project             = var.project_id
  dataset_id          = google_bigquery_dataset.exposed[each.value.dataset].dataset_id
  table_id            = each.value.table
  description         = "The lake's ${each.key} as plain readers see it"
  deletion_protection = false
  labels              = var.labels

  external_data_configuration {
    autodetect    = true
    source_format = "PARQUET"
    source_uris   = ["${each.value.path}*"]
    connection_id = google_bigquery_connection.lake[0].name

    hive_partitioning_options {
      mode                     = "CUSTOM"
      source_uri_prefix        = "${each.value.path}${each.value.keys}"
      require_partition_filter = true
    }
  }

  depends_on = [google_storage_bucket_iam_member.connection]
}

# Loads are jobs. A store that was lost asks the labels of the account's own jobs what still writes, and
# roles/bigquery.jobUser cannot list them; roles/bigquery.user can, and can make data sets, which the
# daemon need not.
# The id of a deleted role is free again after 37 days only, so each has a suffix of its own.
resource "terraform_data" "role" {}

resource "google_project_iam_custom_role" "loads" {
  project     = var.project_id
  role_id     = "${replace(var.name, "-", "_")}_loads_${substr(terraform_data.role.id, 0, 8)}"
  title       = "${var.name}: loads"
  description = "Run jobs and list one's own"
  permissions = ["bigquery.jobs.create", "bigquery.jobs.list"]
}

resource "google_project_iam_member" "runs_jobs" {
  project = var.project_id
  role    = "projects/${google_project_iam_custom_role.loads.project}/roles/${google_project_iam_custom_role.loads.role_id}"
  member  = var.writer
}

resource "google_bigquery_dataset_iam_member" "writer" {
  for_each   = google_bigquery_dataset.written
  project    = var.project_id
  dataset_id = each.value.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = var.writer
}

resource "google_bigquery_dataset_iam_member" "reader" {
  for_each = {
    for pair in setproduct(var.readers, setunion(var.datasets, local.raw_datasets)) : join(" ", pair) => pair
  }
  project    = var.project_id
  dataset_id = each.value[1]
  role       = "roles/bigquery.dataViewer"
  member     = each.value[0]
  depends_on = [google_bigquery_dataset.written, google_bigquery_dataset.exposed]
}
