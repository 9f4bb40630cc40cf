# Who may use the keys of Cloud KMS that encrypt what the other modules make. Not an account of ours encrypts,
# but an agent of each Google service, and each needs the right on its key before the first disk or bucket is
# made. The keys themselves are made elsewhere: with them, all that they encrypt would be gone.

data "google_project" "this" {
  project_id = var.project_id
}

# Asking for these two makes them, if the project has none yet.
data "google_storage_project_service_account" "agent" {
  count   = contains(keys(var.uses), "storage") ? 1 : 0
  project = var.project_id
}

data "google_bigquery_default_service_account" "agent" {
  count   = contains(keys(var.uses), "bigquery") ? 1 : 0
  project = var.project_id
}

locals {
  agent = "serviceAccount:service-${data.google_project.this.number}"
  agents = {
    storage          = one(data.google_storage_project_service_account.agent[*].member)
    bigquery         = one(data.google_bigquery_default_service_account.agent[*].member)
    compute          = "${local.agent}@compute-system.iam.gserviceaccount.com"
    artifactregistry = "${local.agent}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    sqladmin         = "${local.agent}@gcp-sa-cloud-sql.iam.gserviceaccount.com"
    managedkafka     = "${local.agent}@gcp-sa-managedkafka.iam.gserviceaccount.com"
    run              = "${local.agent}@serverless-robot-prod.iam.gserviceaccount.com"
  }
}

resource "google_kms_crypto_key_iam_member" "uses" {
  for_each      = var.uses
  crypto_key_id = each.value
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = local.agents[each.key]
}
