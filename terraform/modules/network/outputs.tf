output "network_id" {
  description = "The VPC."
  value       = google_compute_network.vpc.id
}

output "daemon_subnet_id" {
  description = "The daemon's subnet."
  value       = google_compute_subnetwork.part["daemon"].id
}

output "kafka_subnet_id" {
  description = "The brokers' subnet."
  value       = google_compute_subnetwork.part["kafka"].id
}

output "daemon_cidr" {
  description = "Addresses of the daemon's subnet."
  value       = google_compute_subnetwork.part["daemon"].ip_cidr_range
}

output "kafka_cidr" {
  description = "Addresses of the brokers' subnet."
  value       = google_compute_subnetwork.part["kafka"].ip_cidr_range
}
