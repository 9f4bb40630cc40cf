provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "store" {
  source = "../.."

  project_id      = "acme-wiki"
  region          = "europe-west1"
  name            = "tidemill"
  network_id      = "projects/acme-wiki/global/networks/tidemill"
  daemon_email    = "daemon@acme-wiki.iam.gserviceaccount.com"
  deletion_policy = "PREVENT"
}
