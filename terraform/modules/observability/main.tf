# What Tidemill says in its log, as metrics, and who is told. The daemon has no metrics endpoint; it
# writes a line a minute for each stream and one for its disk, and a line for each thing that goes wrong.
# Every pattern here stands in the daemon's own tests beside the line that it must find.

locals {
  # A VM's container log has the whole line in jsonPayload.message, Cloud Run its `message` field.
  from_daemon = "resource.type=\"${var.logged_as}\""
  said        = "jsonPayload.message"

  # The shortest that Google takes. Counts come seldom: an incident that stayed open for the default of seven
  # days would swallow the next failure.
  auto_close = "1800s"

  # A value is known to its bucket only. So each threshold is where a bucket begins, with others at 2/3, 1/2,
  # 1/3 of it and so on, and at 3/2, 2, 3: an alert is exact, and a chart right to a third.
  bounds = {
    for key, threshold in { behind = var.behind_seconds, lag = var.lag_messages, quarantined = max(var.quarantined_rows, 1) } :
    key => flatten([for power in range(-8, 9) : [threshold * pow(2, power), threshold * 1.5 * pow(2, power)]])
  }

  values = {
    behind = {
      filter      = "${local.from_daemon} AND ${local.said}=~\"[0-9]+ s behind, lag [0-9]+\""
      extract     = "REGEXP_EXTRACT(${local.said}, \"([0-9]+) s behind, lag [0-9]+\")"
      stream      = "REGEXP_EXTRACT(${local.said}, \"([a-z0-9_.]+) is [0-9]+ s behind\")"
      unit        = "s"
      description = "How far a stream's watermark is behind the clock"
    }
    lag = {
      filter      = "${local.from_daemon} AND ${local.said}=~\"[0-9]+ s behind, lag [0-9]+\""
      extract     = "REGEXP_EXTRACT(${local.said}, \"s behind, lag ([0-9]+)\")"
      stream      = "REGEXP_EXTRACT(${local.said}, \"([a-z0-9_.]+) is [0-9]+ s behind\")"
      unit        = "1"
      description = "Messages that are in Kafka and not yet committed to the lake"
    }
    quarantined = {
      filter      = "${local.from_daemon} AND ${local.said}=~\"[0-9]+ quarantined in the last minute\""
      extract     = "REGEXP_EXTRACT(${local.said}, \"([0-9]+) quarantined in the last minute\")"
      stream      = "REGEXP_EXTRACT(${local.said}, \"([a-z0-9_.]+): [0-9]+ quarantined in the last minute\")"
      unit        = "1"
      description = "Rows that a table put into quarantine in a minute"
    }
    disk = {
      filter      = "resource.type=(\"${var.logged_as}\" OR \"gce_instance\") AND ${local.said}=~\"disk: [0-9]+ % used\""
      extract     = "REGEXP_EXTRACT(${local.said}, \"disk: ([0-9]+) % used\")"
      stream      = "REGEXP_EXTRACT(${local.said}, \"((?:broker [0-9]+|daemon) disk): [0-9]+ % used\")"
      unit        = "%"
      description = "How full the disks of the daemon and the brokers are"
    }
  }

  counts = {
    failed_runs = {
      filter      = "${local.from_daemon} AND ${local.said}=~\"run [A-Za-z0-9_-]+ failed\""
      description = "Runs that failed for good"
    }
    waiting_streams = {
      filter      = "${local.from_daemon} AND ${local.said}=~\"[a-z0-9_.]+ waits for you: \""
      description = "Streams that stopped until a person looks"
    }
    # Its sum over all VMs tells whether there is a daemon, whichever VM it runs on.
    heartbeats = {
      filter      = "${local.from_daemon} AND ${local.said}=~\"daemon disk: [0-9]+ % used\""
      description = "Lines that a daemon writes once a minute while it is there"
    }
  }
}

resource "google_monitoring_notification_channel" "on_call" {
  project      = var.project_id
  display_name = "${var.name}: on call"
  type         = "email"
  labels       = { email_address = var.on_call_email }
  user_labels  = var.labels
}

resource "google_logging_metric" "value" {
  for_each        = local.values
  project         = var.project_id
  name            = "${var.name}/${each.key}"
  description     = each.value.description
  filter          = each.value.filter
  value_extractor = each.value.extract
  label_extractors = {
    of = each.value.stream
  }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = each.value.unit

    labels {
      key         = "of"
      value_type  = "STRING"
      description = "Stream, table or disk"
    }
  }

  bucket_options {
    dynamic "explicit_buckets" {
      for_each = contains(keys(local.bounds), each.key) ? [local.bounds[each.key]] : []
      content {
        bounds = explicit_buckets.value
      }
    }
    dynamic "linear_buckets" {
      for_each = contains(keys(local.bounds), each.key) ? [] : [each.key] # A percentage.
      content {
        num_finite_buckets = 100
        width              = 1
        offset             = 0
      }
    }
  }
}

resource "google_logging_metric" "count" {
  for_each    = local.counts
  project     = var.project_id
  name        = "${var.name}/${each.key}"
  description = each.value.description
  filter      = each.value.filter

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }
}

# Alerts come with the daemon, and so with a later apply than the metrics: Google refuses an alert on a metric
# that it made in the last ten minutes, and before there is a daemon there is nothing to tell.
locals {
  value_alerts = {
    behind = {
      title     = "a stream is behind"
      above     = var.behind_seconds
      for       = "300s"
      remedy    = "`tidemill streams show STREAM` names the topic partition that holds the watermark, `partitions show` who holds an hour."
      resources = [var.logged_as]
    }
    lag = {
      title     = "Kafka fills faster than it is read"
      above     = var.lag_messages
      for       = "600s"
      remedy    = "`tidemill streams show STREAM`: is it running, and at which rate? A stream has one process: give it memory, or more of a machine."
      resources = [var.logged_as]
    }
    quarantined = {
      title     = "rows are quarantined"
      above     = var.quarantined_rows
      for       = "0s"
      remedy    = "Read _tidemill/TABLE/quarantine/ of the lake: each row has its reason."
      resources = [var.logged_as]
    }
    disk = {
      title     = "a disk is filling up"
      above     = var.disk_percent
      for       = "0s"
      remedy    = "Of the daemon: limits.keep_runs, or a larger state_disk_gb and a restart of the unit. Of a broker: retention, or a larger broker_disk_gb and a restart of the unit."
      resources = distinct([var.logged_as, "gce_instance"])
    }
  }
  count_alerts = {
    failed_runs = {
      title  = "a run failed"
      remedy = "`tidemill status` names it, `tidemill tasks why DAG RUN` tells the error and the verb that helps."
    }
    waiting_streams = {
      title  = "a stream waits for a person"
      remedy = "`tidemill streams show STREAM` tells why; then `tidemill streams start STREAM`."
    }
  }
}

resource "google_monitoring_alert_policy" "value" {
  for_each              = var.deployed ? local.value_alerts : {}
  project               = var.project_id
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.on_call.id]
  user_labels           = var.labels

  dynamic "conditions" {
    for_each = each.value.resources
    content {
      display_name = "${each.key} above ${each.value.above}"
      condition_threshold {
        filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.value[each.key].name}\" AND resource.type=\"${conditions.value}\""
        comparison      = "COMPARISON_GT"
        threshold_value = each.value.above
        duration        = each.value.for

        aggregations {
          alignment_period     = "300s"
          per_series_aligner   = "ALIGN_PERCENTILE_99"
          cross_series_reducer = "REDUCE_MAX"
          group_by_fields      = ["metric.label.of"]
        }
      }
    }
  }

  alert_strategy {
    auto_close = local.auto_close
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.remedy
  }
}

# Silence is no good sign: a daemon that is down writes nothing. The query has a value also where the metric
# has none yet, so a daemon that never started is noticed. It adds up all VMs, so one that was replaced is not.
resource "google_monitoring_alert_policy" "silent" {
  count                 = var.deployed ? 1 : 0
  project               = var.project_id
  display_name          = "${var.name}: nothing heard of the daemon"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.on_call.id]
  user_labels           = var.labels

  conditions {
    display_name = "no line about its disk for 15 minutes"
    condition_prometheus_query_language {
      query                     = "(sum(increase(logging_googleapis_com:user_${replace(google_logging_metric.count["heartbeats"].name, "/[^a-zA-Z0-9_]/", "_")}{monitored_resource=\"${var.logged_as}\"}[5m])) or vector(0)) < 1"
      duration                  = "900s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = local.auto_close
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Is the VM there (`gcloud compute instance-groups managed list-instances`), and the unit (`systemctl status tidemill`)? What its last lines were is in Cloud Logging."
  }
}

resource "google_monitoring_alert_policy" "count" {
  for_each              = var.deployed ? local.count_alerts : {}
  project               = var.project_id
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.on_call.id]
  user_labels           = var.labels

  conditions {
    display_name = "${each.key} above 0"
    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.count[each.key].name}\" AND resource.type=\"${var.logged_as}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  alert_strategy {
    auto_close = local.auto_close
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.remedy
  }
}

resource "google_monitoring_dashboard" "overview" {
  project = var.project_id
  dashboard_json = jsonencode({
    displayName = "${var.name}: overview"
    mosaicLayout = {
      columns = 12
      tiles = [
        for index, key in keys(local.values) : {
          xPos   = index % 2 * 6
          yPos   = floor(index / 2) * 4
          width  = 6
          height = 4
          widget = {
            title = local.values[key].description
            xyChart = {
              dataSets = [{
                timeSeriesQuery = {
                  timeSeriesFilter = {
                    filter = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.value[key].name}\""
                    aggregation = {
                      alignmentPeriod    = "300s"
                      perSeriesAligner   = "ALIGN_PERCENTILE_99"
                      crossSeriesReducer = "REDUCE_MAX"
                      groupByFields      = ["metric.label.of"]
                    }
                  }
                }
              }]
            }
          }
        }
      ]
    }
  })
}

# A budget stores the project's number; its id would be a change in every plan.
data "google_project" "billed" {
  count      = var.billing_account == null ? 0 : 1
  project_id = var.project_id
}

resource "google_billing_budget" "month" {
  count           = var.billing_account == null ? 0 : 1
  billing_account = var.billing_account
  display_name    = "${var.name}: a month"

  budget_filter {
    projects = ["projects/${data.google_project.billed[0].number}"]
  }

  amount {
    specified_amount {
      units = tostring(var.budget)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    monitoring_notification_channels = [google_monitoring_notification_channel.on_call.id]
  }
}
