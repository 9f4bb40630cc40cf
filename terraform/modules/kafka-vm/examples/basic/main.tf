provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "kafka_vm" {
  source = "../.."

  project_id      = "acme-wiki"
  region          = "europe-west1"
  name            = "tidemill-kafka"
  brokers         = { "1" = "europe-west1-b", "2" = "europe-west1-c", "3" = "europe-west1-d" }
  network_id      = "projects/acme-wiki/global/networks/tidemill"
  subnet_id       = "projects/acme-wiki/regions/europe-west1/subnetworks/tidemill-kafka"
  client_cidr     = "10.20.0.0/24"
  service_account = "kafka@acme-wiki.iam.gserviceaccount.com"
  kafka_image     = "europe-west1-docker.pkg.dev/acme-wiki/tidemill-mirror/apache/kafka:4.1.0"
  machine_type    = "e2-small"
  heap_mb         = 768
  disk_gb         = 20
  deletion_policy = "PREVENT"
}
