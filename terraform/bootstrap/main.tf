# What must be there before a machine can apply the rest: a bucket for Terraform's state, and a way for one
# GitHub repository to plan and to apply without a key. A person applies it once:
#
#     terraform -chdir=terraform/bootstrap init
#     terraform -chdir=terraform/bootstrap apply -var project_id=acme-wiki -var repository_id=123456
#
# Its own state then moves into the bucket that it made:
#
#     cp terraform/bootstrap/backend.tf.example terraform/bootstrap/backend.tf
#     terraform -chdir=terraform/bootstrap init -migrate-state -backend-config="bucket=acme-wiki-terraform"
#
# `deploy.yml.example` is a workflow that uses it. In your own repository commit `terraform.tfvars` and
# `.terraform.lock.hcl` of the environment, so that the workflow plans what you plan. At GitHub give the
# environment `production` required reviewers, and the branch main only. The account that applies can change
# everything in the project; the one that plans can read everything in it, rows too.

resource "google_project_service" "needed" {
  for_each = toset([
    "cloudresourcemanager.googleapis.com", "iam.googleapis.com", "iamcredentials.googleapis.com",
    "serviceusage.googleapis.com", "storage.googleapis.com", "sts.googleapis.com",
  ])
  project            = var.project_id
  service            = each.value
  disable_on_destroy = false
}

# A state that was damaged, or lost, is restored from an older version.
resource "google_storage_bucket" "state" {
  project                     = var.project_id
  name                        = "${var.project_id}-terraform"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  deletion_policy             = "PREVENT"
  labels                      = { app = "tidemill", managed-by = "terraform" }

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      num_newer_versions = 50
      with_state         = "ARCHIVED"
    }
  }
}

resource "google_iam_workload_identity_pool" "ci" {
  project                   = var.project_id
  workload_identity_pool_id = "tidemill-ci"
  description               = "GitHub's workflows"
  depends_on                = [google_project_service.needed]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  project                            = var.project_id
  workload_identity_pool_id          = google_iam_workload_identity_pool.ci.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  # GitHub signs tokens for the whole world: without this line any repository of anybody would pass. The
  # number, not the name: a name that is given up can be taken by others.
  attribute_condition = "assertion.repository_id == \"${var.repository_id}\""
  attribute_mapping = {
    "google.subject"        = "assertion.sub"
    "attribute.environment" = "assertion.repository_id + \"/\" + (has(assertion.environment) ? assertion.environment : \"none\")"
    "attribute.repository"  = "assertion.repository_id"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

locals {
  pool = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.ci.name}"
  # A plan reads, and whoever opens a pull request runs it. An apply needs a reviewer: GitHub gives the
  # environment's name only to a job that its rules let through.
  accounts = {
    plan = {
      who   = "${local.pool}/attribute.repository/${var.repository_id}"
      roles = ["roles/viewer", "roles/iam.securityReviewer"]
      state = "roles/storage.objectViewer"
    }
    apply = {
      who = "${local.pool}/attribute.environment/${var.repository_id}/${var.environment}"
      roles = [
        "roles/artifactregistry.admin", "roles/bigquery.admin", "roles/compute.admin", "roles/dns.admin",
        "roles/iam.roleAdmin", "roles/iam.serviceAccountAdmin", "roles/iam.serviceAccountUser",
        "roles/logging.configWriter", "roles/monitoring.editor", "roles/resourcemanager.projectIamAdmin",
        "roles/run.admin", "roles/serviceusage.serviceUsageAdmin", "roles/storage.admin",
      ]
      state = "roles/storage.objectUser"
    }
  }
  rights = merge([
    for name, account in local.accounts : { for role in account.roles : "${name} ${role}" => { name = name, role = role } }
  ]...)
}

resource "google_service_account" "ci" {
  for_each     = local.accounts
  project      = var.project_id
  account_id   = "tidemill-ci-${each.key}"
  display_name = "Runs terraform ${each.key}"
  depends_on   = [google_project_service.needed]
}

resource "google_service_account_iam_member" "ci" {
  for_each           = local.accounts
  service_account_id = google_service_account.ci[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = each.value.who
}

resource "google_storage_bucket_iam_member" "state" {
  for_each = local.accounts
  bucket   = google_storage_bucket.state.name
  role     = each.value.state
  member   = google_service_account.ci[each.key].member
}

resource "google_project_iam_member" "ci" {
  for_each = local.rights
  project  = var.project_id
  role     = each.value.role
  member   = google_service_account.ci[each.value.name].member
}
