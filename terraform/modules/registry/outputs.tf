output "images" {
  description = "Where our images are pushed."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}

output "mirror" {
  description = "Where public images are pulled; null without a mirror."
  value       = var.mirror ? "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.mirror[0].repository_id}" : null
}

output "grants" {
  description = "Who may do what, given here."
  value = [
    for it in concat(
      google_artifact_registry_repository_iam_member.pulls,
      google_artifact_registry_repository_iam_member.pulls_mirror,
      values(google_artifact_registry_repository_iam_member.publishes),
    ) : { member = it.member, role = it.role, on = "images" }
  ]
}
