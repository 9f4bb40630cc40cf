output "name" {
  description = "Name of the instance group or worker pool."
  value = one(concat(
    [for it in google_compute_instance_group_manager.daemon : it.name],
    [for it in google_cloud_run_v2_worker_pool.daemon : it.name],
  ))
}

output "logged_as" {
  description = "Resource type under which Cloud Logging keeps the daemon's lines."
  value       = var.runtime == "mig" ? "gce_instance" : "cloud_run_worker_pool"
}

output "zone" {
  description = "Zone of the daemon's VM; null on Cloud Run."
  value       = var.runtime == "mig" ? local.zone : null
}

output "deletion_policies" {
  description = "What destroy does with the daemon, and with the disks of its state."
  value       = { daemon = var.deletion_policy, disks = var.disk_deletion_policy }
}
