mock_provider "google" {}

variables {
  project_id    = "p-1"
  name          = "t"
  logged_as     = "gce_instance"
  deployed      = true
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
    condition     = alltrue([for it in concat(values(google_monitoring_alert_policy.value), values(google_monitoring_alert_policy.count), google_monitoring_alert_policy.silent) : it.notification_channels == tolist([google_monitoring_notification_channel.on_call.id])])
    error_message = "The channel of who is on call."
  }
}

run "a_daemon_that_is_silent_is_noticed" {
  command = plan
  assert {
    condition     = google_monitoring_alert_policy.silent[0].conditions[0].condition_prometheus_query_language[0].duration == "900s"
    error_message = "After a quarter of an hour."
  }
}

# Nor does one that was replaced page anybody: its VM is another series, and the sum has both.
run "a_daemon_that_never_started_is_noticed" {
  command = plan
  assert {
    condition     = google_monitoring_alert_policy.silent[0].conditions[0].condition_prometheus_query_language[0].query == "(sum(increase(logging_googleapis_com:user_t_heartbeats{monitored_resource=\"gce_instance\"}[5m])) or vector(0)) < 1"
    error_message = "A value also where the metric has none yet; a sum over all VMs."
  }
  assert {
    condition     = google_monitoring_alert_policy.silent[0].conditions[0].condition_prometheus_query_language[0].disable_metric_validation
    error_message = "It is accepted before the metric has a value."
  }
}

run "alerts_come_with_the_daemon_and_metrics_before" {
  command = plan
  variables {
    deployed = false
  }
  assert {
    condition     = length(google_monitoring_alert_policy.value) + length(google_monitoring_alert_policy.count) + length(google_monitoring_alert_policy.silent) == 0
    error_message = "Google refuses an alert on a metric of the last ten minutes."
  }
  assert {
    condition     = length(google_logging_metric.value) == 4 && length(google_logging_metric.count) == 3
    error_message = "Metrics are there from the first apply."
  }
}

# Google counts values (ALIGN_COUNT) of numbers only, and percentiles of distributions only.
run "each_alert_reads_its_metric_as_google_allows" {
  command = plan
  assert {
    condition     = alltrue(flatten([for it in google_monitoring_alert_policy.value : [for condition in it.conditions : condition.condition_threshold[0].aggregations[0].per_series_aligner == "ALIGN_PERCENTILE_99"]]))
    error_message = "A distribution: its 99th percentile."
  }
  assert {
    condition     = alltrue([for it in google_monitoring_alert_policy.count : it.conditions[0].condition_threshold[0].aggregations[0].per_series_aligner == "ALIGN_DELTA"])
    error_message = "A number: how much it grew."
  }
}

run "a_threshold_is_where_a_bucket_begins" {
  command = plan
  variables {
    behind_seconds = 900
    lag_messages   = 7000
  }
  assert {
    condition     = contains(google_logging_metric.value["behind"].bucket_options[0].explicit_buckets[0].bounds, 900) && contains(google_logging_metric.value["lag"].bucket_options[0].explicit_buckets[0].bounds, 7000)
    error_message = "Or the alert comes early or late by as much as a bucket is wide."
  }
  assert {
    condition     = google_logging_metric.value["disk"].bucket_options[0].linear_buckets[0].width == 1 && google_logging_metric.value["disk"].bucket_options[0].linear_buckets[0].num_finite_buckets == 100
    error_message = "A bucket for each percent."
  }
}

run "a_second_failure_is_told_too" {
  command = plan
  assert {
    condition     = alltrue([for it in concat(values(google_monitoring_alert_policy.value), values(google_monitoring_alert_policy.count), google_monitoring_alert_policy.silent) : it.alert_strategy[0].auto_close == "1800s"])
    error_message = "An incident that stays open for a week swallows the next."
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
  command = apply
  override_data {
    target = data.google_project.billed[0]
    values = { number = "42" }
  }
  variables {
    billing_account = "012345-6789AB-CDEF01"
    budget          = 300
  }
  assert {
    condition     = google_billing_budget.month[0].budget_filter[0].projects == toset(["projects/42"])
    error_message = "By its number, as Google stores it."
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
