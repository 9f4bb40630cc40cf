# The bucket that is the truth: Parquet files in Hive directories, and under `_tidemill/` the records and
# closings that say which of them count. Nothing under `_tidemill/` has an age after which it could go: a
# staged file is garbage when a record says so, and never before. So every lifecycle rule names prefixes,
# and none of them may reach there. The one exception is no object yet: an upload in parts that was never
# completed.

resource "google_storage_bucket" "lake" {
  project                     = var.project_id
  name                        = var.name
  location                    = var.location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.force_destroy
  deletion_policy             = var.deletion_policy
  labels                      = var.labels

  # Tidemill never writes an object twice but for batch outputs, so a deleted or replaced one within these
  # days is all that there is to bring back; versions would keep every staged file.
  soft_delete_policy {
    retention_duration_seconds = var.soft_delete_days * 86400
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  # A batch's result is uploaded in parts. A killed one leaves parts, which cost as much as an object.
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.cold_after_days == null ? [] : [var.cold_after_days]
    content {
      action {
        type          = "SetStorageClass"
        storage_class = "NEARLINE"
      }
      condition {
        age            = lifecycle_rule.value
        matches_prefix = var.aging_prefixes
      }
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.retention_days == null ? [] : [var.retention_days]
    content {
      action {
        type = "Delete"
      }
      condition {
        age            = lifecycle_rule.value
        matches_prefix = var.aging_prefixes
      }
    }
  }

  lifecycle {
    precondition {
      condition     = var.retention_days == null || var.cold_after_days == null || coalesce(var.cold_after_days, 0) < coalesce(var.retention_days, 1)
      error_message = "Files that go after retention_days cannot turn cold later: make cold_after_days smaller, or null."
    }
  }
}

resource "google_storage_bucket_iam_member" "writer" {
  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectUser"
  member = var.writer
}

# `tidemill doctor` asks where the bucket lies.
resource "google_storage_bucket_iam_member" "looks" {
  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.bucketViewer"
  member = var.writer
}

resource "google_storage_bucket_iam_member" "reader" {
  for_each = var.readers
  bucket   = google_storage_bucket.lake.name
  role     = "roles/storage.objectViewer"
  member   = each.value
}
