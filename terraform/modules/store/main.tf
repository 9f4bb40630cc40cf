# PostgreSQL for Tidemill's state, for the day on which Tidemill can keep its state there. It has a
# private address only, and no password: the daemon's account is the user, its token the proof.

resource "google_compute_global_address" "services" {
  project       = var.project_id
  name          = "${var.name}-services"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  network       = var.network_id
}

resource "google_service_networking_connection" "services" {
  network                 = var.network_id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
  deletion_policy         = "ABANDON" # Google holds it for days after the last instance is gone.
}

resource "google_sql_database_instance" "state" {
  project             = var.project_id
  name                = "${var.name}-state"
  region              = var.region
  database_version    = "POSTGRES_17"
  encryption_key_name = var.kms_key
  deletion_protection = var.deletion_policy == "PREVENT"
  deletion_policy     = var.deletion_policy

  settings {
    edition                     = "ENTERPRISE"
    tier                        = var.tier
    availability_type           = var.high_availability ? "REGIONAL" : "ZONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = 10
    disk_autoresize             = true
    user_labels                 = var.labels
    deletion_protection_enabled = var.deletion_policy == "PREVENT"

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network_id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = min(var.backup_days, 7)

      backup_retention_settings {
        retained_backups = var.backup_days
      }
    }

    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }
    database_flags {
      name  = "log_connections"
      value = "on"
    }
    database_flags {
      name  = "log_disconnections"
      value = "on"
    }
    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }

    insights_config {
      query_insights_enabled = true
    }
  }

  depends_on = [google_service_networking_connection.services]
}

resource "google_sql_database" "tidemill" {
  project         = var.project_id
  instance        = google_sql_database_instance.state.name
  name            = "tidemill"
  deletion_policy = "ABANDON" # It goes with its instance, or not at all.
}

resource "google_sql_user" "daemon" {
  project         = var.project_id
  instance        = google_sql_database_instance.state.name
  name            = trimsuffix(var.daemon_email, ".gserviceaccount.com")
  type            = "CLOUD_IAM_SERVICE_ACCOUNT"
  database_roles  = ["cloudsqlsuperuser"] # Without a role an IAM user may log in and create nothing.
  deletion_policy = "ABANDON"             # PostgreSQL refuses to drop a user that owns tables.
}

resource "google_project_iam_member" "connects" {
  for_each = toset(["roles/cloudsql.client", "roles/cloudsql.instanceUser"])
  project  = var.project_id
  role     = each.value
  member   = "serviceAccount:${var.daemon_email}"
}
