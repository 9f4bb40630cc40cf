# For the Wikimedia pipeline (37 events a second, 4.6 GB a day) with room for ten times as much; what
# holds data cannot be destroyed by a slip.

module "tidemill" {
  source                  = "../../modules/tidemill"
  env                     = "prod"
  project_id              = var.project_id
  region                  = var.region
  location                = var.location
  image_tag               = var.image_tag
  on_call_email           = var.on_call_email
  kafka                   = var.kafka
  runtime                 = var.runtime
  store                   = var.store
  store_high_availability = true
  operators               = var.operators
  publishers              = var.publishers
  analysts                = var.analysts
  datasets                = var.datasets
  external_tables         = var.external_tables
  kms_key                 = var.kms_key
  cold_after_days         = var.cold_after_days
  retention_days          = var.retention_days
  soft_delete_days        = 30
  billing_account         = var.billing_account
  budget                  = var.budget
  broker_machine_type     = "e2-standard-2"
  broker_heap_mb          = 3072
  broker_disk_gb          = 100 # A week of 4.6 GB a day is 32 GB.
  daemon_machine_type     = "e2-standard-2"
  state_disk_gb           = 50
  deletion_policy         = "PREVENT"
}
