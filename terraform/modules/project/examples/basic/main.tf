provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "project" {
  source = "../.."

  project_id = "acme-wiki"
  services   = ["storage.googleapis.com"]
}
