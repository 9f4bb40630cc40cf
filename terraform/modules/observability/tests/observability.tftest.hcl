mock_provider "google" {}

variables {
  project_id    = "p-1"
  name          = "t"
  logged_as     = "gce_instance"
  on_call_email = "ops@example.org"
}

run "someone_is_told_of_everything_that_matters" {
  command = plan
  assert {
    condition     = toset(keys(google_monitoring_alert_policy.value)) == toset(["behind", "lag", "quarantined", "disk"]) && toset(keys(google_monitoring_alert_policy.count)) == toset(["failed_runs", "waiting_streams"])
    error_message = "Freshness, lag, quarantine, disk; failed runs, streams that wait."
  }
}

run "every_alert_reaches_someone" {
  command = apply
  assert {
    condition     = alltrue([for it in concat(values(google_monitoring_alert_policy.value), values(google_monitoring_alert_policy.count), [google_monitoring_alert_policy.silent]) : it.notification_channels == tolist([google_monitoring_notification_channel.on_call.id])])
    error_message = "The channel of who is on call."
  }
}

run "a_daemon_that_is_silent_is_noticed" {
  command = plan
  assert {
    condition     = google_monitoring_alert_policy.silent.conditions[0].condition_absent[0].duration == "900s"
    error_message = "After a quarter of an hour."
  }
}

run "disks_of_brokers_are_watched_wherever_the_daemon_runs" {
  command = plan
  variables {
    logged_as = "cloud_run_worker_pool"
  }
  assert {
    condition     = length(google_monitoring_alert_policy.value["disk"].conditions) == 2
    error_message = "Of Cloud Run and of VMs."
  }
}

run "a_month_has_a_budget_where_billing_is_named" {
  command = plan
  variables {
    billing_account = "012345-6789AB-CDEF01"
    budget          = 300
  }
  assert {
    condition     = google_billing_budget.month[0].amount[0].specified_amount[0].units == "300"
    error_message = "The amount asked for."
  }
}

run "a_threshold_that_no_disk_reaches_is_refused" {
  command = plan
  variables {
    disk_percent = 100
  }
  expect_failures = [var.disk_percent]
}
