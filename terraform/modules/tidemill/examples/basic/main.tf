provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "tidemill" {
  source = "../.."

  project_id          = "acme-wiki"
  region              = "europe-west1"
  on_call_email       = "ops@example.org"
  broker_machine_type = "e2-small"
  broker_heap_mb      = 768
  broker_disk_gb      = 20
  daemon_machine_type = "e2-small"
  deletion_policy     = "DELETE"
  env                 = "prod"
  location            = "europe-west1"
  kafka               = "vm"
  runtime             = "mig"
}
