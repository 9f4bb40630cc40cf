mock_provider "google" {}

variables {
  project_id      = "p-1"
  region          = "europe-west1"
  name            = "t"
  network_id      = "projects/p-1/global/networks/t"
  daemon_email    = "daemon@p-1.iam.gserviceaccount.com"
  deletion_policy = "PREVENT"
}

run "it_has_a_private_address_only" {
  command = plan
  assert {
    condition     = google_sql_database_instance.state.settings[0].ip_configuration[0].ipv4_enabled == false && google_sql_database_instance.state.settings[0].ip_configuration[0].private_network == var.network_id
    error_message = "In the VPC and nowhere else."
  }
}

run "connections_are_encrypted" {
  command = plan
  assert {
    condition     = google_sql_database_instance.state.settings[0].ip_configuration[0].ssl_mode == "ENCRYPTED_ONLY"
    error_message = "Plain connections are refused."
  }
}

run "nobody_has_a_password" {
  command = plan
  assert {
    condition     = google_sql_user.daemon.type == "CLOUD_IAM_SERVICE_ACCOUNT" && google_sql_user.daemon.password == null && google_sql_database_instance.state.root_password == null
    error_message = "The daemon's token is its proof."
  }
  assert {
    condition     = google_sql_user.daemon.name == "daemon@p-1.iam"
    error_message = "PostgreSQL knows an account without its ending."
  }
}

run "it_can_be_put_back_to_any_second" {
  command = plan
  assert {
    condition     = google_sql_database_instance.state.settings[0].backup_configuration[0].enabled && google_sql_database_instance.state.settings[0].backup_configuration[0].point_in_time_recovery_enabled
    error_message = "Backups, and the log between them."
  }
}

run "a_backup_is_kept_a_week_at_least" {
  command = plan
  variables {
    backup_days = 1
  }
  expect_failures = [var.backup_days]
}

run "the_daemon_connects_and_administers_nothing" {
  command = plan
  assert {
    condition     = toset([for it in output.grants : it.role]) == toset(["roles/cloudsql.client", "roles/cloudsql.instanceUser"])
    error_message = "Two roles."
  }
}

run "a_second_zone_stands_by_where_asked" {
  command = plan
  variables {
    high_availability = true
  }
  assert {
    condition     = google_sql_database_instance.state.settings[0].availability_type == "REGIONAL"
    error_message = "REGIONAL."
  }
}

run "a_slip_does_not_destroy_it" {
  command = plan
  assert {
    condition     = google_sql_database_instance.state.deletion_policy == "PREVENT" && google_sql_database_instance.state.deletion_protection && google_sql_database_instance.state.settings[0].deletion_protection_enabled
    error_message = "Neither Terraform nor the console."
  }
}

run "the_own_key_encrypts" {
  command = plan
  variables {
    kms_key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = google_sql_database_instance.state.encryption_key_name == var.kms_key
    error_message = "The disk's key."
  }
}

run "the_daemon_may_create_tables" {
  command = plan
  assert {
    condition     = google_sql_user.daemon.database_roles == tolist(["cloudsqlsuperuser"])
    error_message = "A user of IAM has no right in the database until it has a role there."
  }
}
