provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "kafka_managed" {
  source = "../.."

  project_id      = "acme-wiki"
  region          = "europe-west1"
  name            = "tidemill-kafka"
  subnet_id       = "projects/acme-wiki/regions/europe-west1/subnetworks/tidemill-kafka"
  client          = "serviceAccount:daemon@acme-wiki.iam.gserviceaccount.com"
  deletion_policy = "PREVENT"
}
