mock_provider "google" {
  mock_resource "google_iam_workload_identity_pool" {
    defaults = { name = "projects/42/locations/global/workloadIdentityPools/tidemill-ci" }
  }
}

variables {
  project_id    = "p-1"
  repository_id = "123456"
}

run "an_older_state_can_be_restored" {
  command = plan
  assert {
    condition     = google_storage_bucket.state.versioning[0].enabled && alltrue([for rule in google_storage_bucket.state.lifecycle_rule : one(rule.condition).with_state == "ARCHIVED"])
    error_message = "Versions are kept, and the current one is never deleted."
  }
}

run "the_state_is_private_and_kept" {
  command = plan
  assert {
    condition     = google_storage_bucket.state.public_access_prevention == "enforced" && google_storage_bucket.state.uniform_bucket_level_access && google_storage_bucket.state.deletion_policy == "PREVENT"
    error_message = "It tells what there is, and nothing can be changed without it."
  }
}

run "only_one_repository_comes_in" {
  command = plan
  assert {
    condition     = google_iam_workload_identity_pool_provider.github.attribute_condition == "assertion.repository_id == \"123456\""
    error_message = "GitHub signs for everybody's."
  }
}

run "an_apply_needs_the_environment" {
  command = apply
  assert {
    condition     = google_service_account_iam_member.ci["apply"].member == "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/tidemill-ci/attribute.environment/123456/production"
    error_message = "With its reviewers."
  }
}

run "a_plan_only_reads" {
  command = plan
  assert {
    condition     = google_storage_bucket_iam_member.state["plan"].role == "roles/storage.objectViewer" && toset([for it in local.rights : it.role if it.name == "plan"]) == toset(["roles/viewer", "roles/iam.securityReviewer"])
    error_message = "Whoever opens a pull request runs it."
  }
}

run "a_name_in_place_of_a_number_is_refused" {
  command = plan
  variables {
    repository_id = "acme/wiki"
  }
  expect_failures = [var.repository_id]
}
