provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "network" {
  source = "../.."

  project_id   = "acme-wiki"
  region       = "europe-west1"
  name         = "tidemill"
  ssh_accounts = ["daemon@acme-wiki.iam.gserviceaccount.com"]
}
