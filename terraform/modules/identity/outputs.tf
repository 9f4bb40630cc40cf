output "emails" {
  description = "E-mail of each account, by what it runs."
  value       = local.emails
}

output "members" {
  description = "Each account as IAM names it."
  value       = local.members
}

output "grants" {
  description = "Who may do what, given here."
  value = concat(
    [for it in google_project_iam_member.writes_logs : { member = it.member, role = it.role, on = "project" }],
    [for it in google_project_iam_member.operates : { member = it.member, role = it.role, on = "project" }],
    [for key, it in google_service_account_iam_member.operates : { member = it.member, role = it.role, on = "account ${split(" ", key)[1]}" }],
  )
}
