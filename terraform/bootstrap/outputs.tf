output "bucket" {
  description = "Where Terraform keeps its state."
  value       = google_storage_bucket.state.name
}

output "provider" {
  description = "What the workflow calls workload_identity_provider."
  value       = google_iam_workload_identity_pool_provider.github.name
}

output "accounts" {
  description = "What the workflow calls service_account, for plan and apply."
  value       = { for name, account in google_service_account.ci : name => account.email }
}
