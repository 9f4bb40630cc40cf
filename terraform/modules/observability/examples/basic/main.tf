provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "observability" {
  source = "../.."

  project_id    = "acme-wiki"
  name          = "tidemill"
  logged_as     = "gce_instance"
  deployed      = true
  on_call_email = "ops@example.org"
}
