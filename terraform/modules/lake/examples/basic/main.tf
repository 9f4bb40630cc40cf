provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "lake" {
  source = "../.."

  project_id      = "acme-wiki"
  name            = "acme-wiki-lake"
  location        = "europe-west1"
  writer          = "serviceAccount:daemon@acme-wiki.iam.gserviceaccount.com"
  cold_after_days = 60
  retention_days  = 400
  deletion_policy = "PREVENT"
}
