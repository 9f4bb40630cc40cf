output "brokers" {
  description = "What tidemill.toml calls kafka.brokers."
  value       = join(",", [for id, host in local.hosts : "${host}:9092"])
}

output "properties" {
  description = "What tidemill.toml calls kafka.properties: none, the VPC's own rules say who may connect."
  value       = {}
}

output "zones" {
  description = "Zone of each broker."
  value       = { for id, broker in google_compute_instance.broker : id => broker.zone }
}
