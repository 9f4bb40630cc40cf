output "connection_name" {
  description = "What the Cloud SQL proxy calls the instance."
  value       = google_sql_database_instance.state.connection_name
}

output "private_ip" {
  description = "Its address in the VPC."
  value       = google_sql_database_instance.state.private_ip_address
}

output "grants" {
  description = "Who may do what, given here."
  value       = [for it in google_project_iam_member.connects : { member = it.member, role = it.role, on = "project" }]
}
