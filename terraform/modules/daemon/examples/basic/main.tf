provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "daemon" {
  source = "../.."

  project_id = "acme-wiki"
  region     = "europe-west1"
  name       = "tidemill"
  deployed   = true
  image      = "europe-west1-docker.pkg.dev/acme-wiki/tidemill/tidemill:v1"
  state_disks = {
    "1" = { zone = "europe-west1-b" }
    "2" = { zone = "europe-west1-c", snapshot = "tidemill-state-1-20261201020000" }
  }
  state_disk      = "1"
  service_account = "daemon@acme-wiki.iam.gserviceaccount.com"
  network_id      = "projects/acme-wiki/global/networks/tidemill"
  subnet_id       = "projects/acme-wiki/regions/europe-west1/subnetworks/tidemill-daemon"
  machine_type    = "e2-medium"
  deletion_policy = "DELETE"

  disk_deletion_policy = "PREVENT"
}
