output "datasets" {
  description = "Datasets that Tidemill writes."
  value       = sort([for dataset in google_bigquery_dataset.written : dataset.dataset_id])
}

output "location" {
  description = "Where they are."
  value       = var.location
}

output "grants" {
  description = "Who may do what, given here."
  value = concat(
    # By its title: the suffix of its id is not known before it is created, and a plan tells who may do what.
    [for it in [google_project_iam_member.runs_jobs] : { member = it.member, role = google_project_iam_custom_role.loads.title, on = "project" }],
    [for it in google_bigquery_dataset_iam_member.writer : { member = it.member, role = it.role, on = "dataset ${it.dataset_id}" }],
    [for it in google_bigquery_dataset_iam_member.reader : { member = it.member, role = it.role, on = "dataset ${it.dataset_id}" }],
    [for it in google_storage_bucket_iam_member.connection : { member = "the connection `${google_bigquery_connection.lake[0].connection_id}`", role = it.role, on = "bucket ${it.bucket}" }],
  )
}
