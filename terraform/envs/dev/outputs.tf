output "tidemill" {
  description = "What tidemill.gcp.toml needs; `terraform output -json | tidemill config import` writes it."
  value       = module.tidemill.tidemill
}

output "images" {
  description = "Where the image is pushed."
  value       = module.tidemill.images
}

output "access" {
  description = "Who may do what: member, role, and on which thing."
  value       = module.tidemill.access
}

output "broker_zones" {
  description = "Zone of each broker on a VM of ours."
  value       = module.tidemill.broker_zones
}

output "daemon" {
  description = "Name of the instance group (and of its VM) or of the worker pool; null before the first image."
  value       = module.tidemill.daemon
}

output "daemon_zone" {
  description = "Zone of the daemon's VM; null on Cloud Run."
  value       = module.tidemill.daemon_zone
}

output "alerts" {
  description = "What someone is told of."
  value       = module.tidemill.alerts
}
