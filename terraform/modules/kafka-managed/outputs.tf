output "brokers" {
  description = "What tidemill.toml calls kafka.brokers: 9192 for client certificates, 9092 for tokens."
  value       = "bootstrap.${google_managed_kafka_cluster.kafka.cluster_id}.${google_managed_kafka_cluster.kafka.location}.managedkafka.${google_managed_kafka_cluster.kafka.project}.cloud.goog:${var.ca_pool == null ? 9092 : 9192}"
}

output "properties" {
  description = "What tidemill.toml calls kafka.properties, without what proves who we are."
  value       = var.ca_pool == null ? { "security.protocol" = "SASL_SSL", "sasl.mechanism" = "OAUTHBEARER" } : { "security.protocol" = "SSL" }
}

output "grants" {
  description = "Who may do what, given here."
  value       = [for it in [google_project_iam_member.client] : { member = it.member, role = it.role, on = "project" }]
}
