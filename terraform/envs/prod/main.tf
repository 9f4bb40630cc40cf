# For the Wikimedia pipeline (37 events a second, 4.6 GB a day) with room for ten times as much; what
# holds data cannot be destroyed by a slip.

module "tidemill" {
  source                      = "../../modules/tidemill"
  env                         = "prod"
  project_id                  = var.project_id
  region                      = var.region
  location                    = coalesce(var.location, var.region)
  deployed                    = var.deployed
  image_tag                   = var.image_tag
  on_call_email               = var.on_call_email
  kafka                       = var.kafka
  managed_kafka_without_login = var.managed_kafka_without_login
  kafka_version               = var.kafka_version
  docker_hub                  = var.docker_hub
  runtime                     = var.runtime
  store                       = var.store
  store_high_availability     = true
  operators                   = var.operators
  publishers                  = var.publishers
  analysts                    = var.analysts
  datasets                    = var.datasets
  external_tables             = var.external_tables
  kms_key                     = var.kms_key
  lake_kms_key                = var.lake_kms_key
  cold_after_days             = var.cold_after_days
  retention_days              = var.retention_days
  soft_delete_days            = 30
  billing_account             = var.billing_account
  budget                      = var.budget
  broker_zones                = var.broker_zones
  brokers_may_stop            = var.brokers_may_stop
  broker_machine_type         = var.broker_machine_type
  broker_heap_mb              = 3072
  broker_disk_gb              = var.broker_disk_gb # A week of 4.6 GB a day is 32 GB.
  daemon_machine_type         = "e2-standard-2"
  state_disks                 = var.state_disks
  state_disk                  = var.state_disk
  state_disk_gb               = var.state_disk_gb
  deletion_policy             = var.deletion_policy
  daemon_deletion_policy      = var.daemon_deletion_policy
}
