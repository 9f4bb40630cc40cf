provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "warehouse" {
  source = "../.."

  project_id      = "acme-wiki"
  name            = "tidemill"
  location        = "europe-west1"
  bucket          = "acme-wiki-lake"
  writer          = "serviceAccount:daemon@acme-wiki.iam.gserviceaccount.com"
  deletion_policy = "PREVENT"
}
