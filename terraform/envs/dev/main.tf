# Small, and gone without a trace at destroy: nothing here is worth keeping.

module "tidemill" {
  source                      = "../../modules/tidemill"
  env                         = "dev"
  project_id                  = var.project_id
  region                      = var.region
  location                    = var.region
  deployed                    = var.deployed
  image_tag                   = var.image_tag
  on_call_email               = var.on_call_email
  kafka                       = var.kafka
  managed_kafka_without_login = var.managed_kafka_without_login
  kafka_version               = var.kafka_version
  docker_hub                  = var.docker_hub
  runtime                     = var.runtime
  store                       = var.store
  operators                   = var.operators
  publishers                  = var.publishers
  external_tables             = var.external_tables
  billing_account             = var.billing_account
  budget                      = var.budget
  broker_zones                = var.broker_zones
  brokers_may_stop            = var.brokers_may_stop
  broker_machine_type         = var.broker_machine_type
  broker_heap_mb              = 768
  broker_disk_gb              = var.broker_disk_gb
  daemon_machine_type         = "e2-medium"
  state_disks                 = var.state_disks
  state_disk                  = var.state_disk
  state_disk_gb               = var.state_disk_gb
  deletion_policy             = "DELETE"
}
