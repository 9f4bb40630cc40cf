output "alerts" {
  description = "What someone is told of."
  value = sort(concat(
    [for it in google_monitoring_alert_policy.value : it.display_name],
    [for it in google_monitoring_alert_policy.count : it.display_name],
    google_monitoring_alert_policy.silent[*].display_name,
  ))
}
