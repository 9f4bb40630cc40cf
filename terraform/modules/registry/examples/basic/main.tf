provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "registry" {
  source = "../.."

  project_id      = "acme-wiki"
  region          = "europe-west1"
  name            = "tidemill"
  daemon          = "serviceAccount:daemon@acme-wiki.iam.gserviceaccount.com"
  broker          = "serviceAccount:kafka@acme-wiki.iam.gserviceaccount.com"
  mirror          = true
  deletion_policy = "PREVENT"
}
