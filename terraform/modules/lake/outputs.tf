output "bucket" {
  description = "Name of the bucket."
  value       = google_storage_bucket.lake.name
}

output "url" {
  description = "What tidemill.toml calls lake.url."
  value       = "gs://${google_storage_bucket.lake.name}"
}

output "grants" {
  description = "Who may do what, given here."
  value = concat(
    [for it in [google_storage_bucket_iam_member.writer, google_storage_bucket_iam_member.looks] : { member = it.member, role = it.role, on = "bucket ${it.bucket}" }],
    [for it in google_storage_bucket_iam_member.reader : { member = it.member, role = it.role, on = "bucket ${it.bucket}" }],
  )
}
