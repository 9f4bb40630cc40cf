# Small, and gone without a trace at destroy: nothing here is worth keeping.

module "tidemill" {
  source              = "../../modules/tidemill"
  env                 = "dev"
  project_id          = var.project_id
  region              = var.region
  location            = var.region
  image_tag           = var.image_tag
  on_call_email       = var.on_call_email
  kafka               = var.kafka
  runtime             = var.runtime
  store               = var.store
  operators           = var.operators
  publishers          = var.publishers
  external_tables     = var.external_tables
  billing_account     = var.billing_account
  budget              = var.budget
  broker_machine_type = "e2-small"
  broker_heap_mb      = 768
  broker_disk_gb      = 20
  daemon_machine_type = "e2-medium"
  deletion_policy     = "DELETE"
}
