provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "identity" {
  source = "../.."

  project_id = "acme-wiki"
  name       = "tm"
  brokers    = true
  on_vms     = ["daemon", "kafka"]
}
