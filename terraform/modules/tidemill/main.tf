# The whole system, once; envs/ gives it sizes. Read the arguments here for who gets what.

locals {
  labels   = merge({ app = "tidemill", env = var.env, managed-by = "terraform" }, var.labels)
  on_vms   = var.kafka == "vm"
  on_mig   = var.runtime == "mig"
  has_vms  = local.on_vms || local.on_mig
  lake_key = var.lake_kms_key != null ? var.lake_kms_key : var.kms_key # Validated: then both are in one place.

  # Which service encrypts with which key.
  region_services = toset(concat(
    ["artifactregistry"],
    local.has_vms ? ["compute"] : [],
    local.on_mig ? [] : ["run"],
    local.on_vms ? [] : ["managedkafka"],
    var.store ? ["sqladmin"] : [],
  ))
  uses = merge(
    var.kms_key == null ? {} : { for service in local.region_services : service => var.kms_key },
    local.lake_key == null ? {} : { storage = local.lake_key, bigquery = local.lake_key },
  )
}

module "project" {
  source     = "../project"
  project_id = var.project_id
  services = toset(concat(
    [
      "artifactregistry.googleapis.com", "bigquery.googleapis.com", "compute.googleapis.com", "iam.googleapis.com",
      "logging.googleapis.com", "monitoring.googleapis.com", "storage.googleapis.com",
    ],
    local.has_vms ? ["iap.googleapis.com", "oslogin.googleapis.com"] : [],
    local.on_vms ? ["dns.googleapis.com"] : ["managedkafka.googleapis.com"],
    var.runtime == "worker_pool" ? ["run.googleapis.com"] : [],
    var.store ? ["servicenetworking.googleapis.com", "sqladmin.googleapis.com"] : [],
    length(var.external_tables) > 0 ? ["bigqueryconnection.googleapis.com"] : [],
    var.billing_account == null ? [] : ["billingbudgets.googleapis.com", "cloudresourcemanager.googleapis.com"],
    length(local.uses) > 0 ? ["cloudkms.googleapis.com", "cloudresourcemanager.googleapis.com"] : [],
    var.docker_hub == null ? [] : ["cloudresourcemanager.googleapis.com", "secretmanager.googleapis.com"],
  ))
}

module "keys" {
  count      = length(local.uses) > 0 ? 1 : 0
  source     = "../keys"
  project_id = var.project_id
  uses       = local.uses
  depends_on = [module.project]
}

locals {
  # Through the module, so that nothing is encrypted before its agent may.
  keys = merge({ for service in ["storage", "bigquery", "compute", "artifactregistry", "sqladmin", "managedkafka", "run"] : service => null }, module.keys[*].keys...)
}

module "network" {
  source          = "../network"
  project_id      = var.project_id
  region          = var.region
  name            = var.name
  internet_egress = var.internet_egress
  ssh_accounts    = values(module.identity.emails)
  depends_on      = [module.project]
}

module "identity" {
  source     = "../identity"
  project_id = var.project_id
  name       = var.name
  brokers    = local.on_vms
  on_vms     = local.on_mig ? ["daemon", "kafka"] : ["kafka"]
  operators  = var.operators
  depends_on = [module.project]
}

module "lake" {
  source           = "../lake"
  project_id       = var.project_id
  name             = "${var.project_id}-${var.name}-lake"
  location         = var.location
  writer           = module.identity.members["daemon"]
  readers          = var.lake_readers
  kms_key          = local.keys.storage
  cold_after_days  = var.cold_after_days
  retention_days   = var.retention_days
  soft_delete_days = var.soft_delete_days
  force_destroy    = var.deletion_policy == "DELETE"
  deletion_policy  = var.deletion_policy
  labels           = local.labels
  depends_on       = [module.project]
}

module "warehouse" {
  source          = "../warehouse"
  project_id      = var.project_id
  name            = var.name
  location        = var.location
  bucket          = module.lake.bucket
  datasets        = var.datasets
  external_tables = var.external_tables
  writer          = module.identity.members["daemon"]
  readers         = var.analysts
  kms_key         = local.keys.bigquery
  delete_contents = var.deletion_policy == "DELETE"
  deletion_policy = var.deletion_policy
  labels          = local.labels
  depends_on      = [module.project]
}

module "store" {
  count             = var.store ? 1 : 0
  source            = "../store"
  project_id        = var.project_id
  region            = var.region
  name              = var.name
  network_id        = module.network.network_id
  daemon_email      = module.identity.emails["daemon"]
  tier              = var.store_tier
  high_availability = var.store_high_availability
  kms_key           = local.keys.sqladmin
  deletion_policy   = var.deletion_policy
  labels            = local.labels
  depends_on        = [module.project]
}

module "registry" {
  source          = "../registry"
  project_id      = var.project_id
  region          = var.region
  name            = var.name
  daemon          = local.on_mig ? module.identity.members["daemon"] : null
  mirror          = local.on_vms
  broker          = lookup(module.identity.members, "kafka", null)
  publishers      = var.publishers
  docker_hub      = var.docker_hub
  kms_key         = local.keys.artifactregistry
  deletion_policy = var.deletion_policy
  labels          = local.labels
  depends_on      = [module.project]
}

module "kafka_vm" {
  count           = local.on_vms ? 1 : 0
  source          = "../kafka-vm"
  project_id      = var.project_id
  region          = var.region
  name            = "${var.name}-kafka"
  brokers         = { for id, zone in var.broker_zones : id => "${var.region}-${zone}" }
  may_stop        = var.brokers_may_stop
  network_id      = module.network.network_id
  subnet_id       = module.network.kafka_subnet_id
  client_cidr     = module.network.daemon_cidr
  service_account = module.identity.emails["kafka"]
  kafka_image     = "${module.registry.mirror}/apache/kafka:${var.kafka_version}"
  machine_type    = var.broker_machine_type
  heap_mb         = var.broker_heap_mb
  disk_gb         = var.broker_disk_gb
  kms_key         = local.keys.compute
  deletion_policy = var.deletion_policy
  labels          = local.labels
  depends_on      = [module.project]
}

module "kafka_managed" {
  count               = local.on_vms ? 0 : 1
  source              = "../kafka-managed"
  project_id          = var.project_id
  region              = var.region
  name                = "${var.name}-kafka"
  subnet_id           = module.network.kafka_subnet_id
  client              = module.identity.members["daemon"]
  vcpus               = var.managed_vcpus
  memory_gib_per_vcpu = var.managed_memory_gib_per_vcpu
  ca_pool             = var.ca_pool
  kms_key             = local.keys.managedkafka
  deletion_policy     = var.deletion_policy
  labels              = local.labels
  depends_on          = [module.project]
}

module "daemon" {
  source          = "../daemon"
  project_id      = var.project_id
  region          = var.region
  name            = var.name
  runtime         = var.runtime
  deployed        = var.deployed
  image           = var.image_tag == null ? null : "${module.registry.images}/tidemill:${var.image_tag}"
  service_account = module.identity.emails["daemon"]
  network_id      = module.network.network_id
  subnet_id       = module.network.daemon_subnet_id
  machine_type    = var.daemon_machine_type
  state_disks = {
    for id, disk in var.state_disks : id => { zone = "${var.region}-${disk.zone}", snapshot = disk.snapshot }
  }
  state_disk           = var.state_disk
  state_disk_gb        = var.state_disk_gb
  kms_key              = local.on_mig ? local.keys.compute : local.keys.run
  deletion_policy      = coalesce(var.daemon_deletion_policy, var.deletion_policy)
  disk_deletion_policy = var.deletion_policy
  labels               = local.labels
  depends_on           = [module.project]
}

module "observability" {
  source          = "../observability"
  project_id      = var.project_id
  name            = var.name
  logged_as       = module.daemon.logged_as
  deployed        = var.deployed
  on_call_email   = var.on_call_email
  behind_seconds  = var.behind_seconds
  lag_messages    = var.lag_messages
  billing_account = var.billing_account
  budget          = var.budget
  labels          = local.labels
  depends_on      = [module.project]
}
