variable "project_id" {
  description = "The project; it must exist, with billing."
  type        = string
}

variable "image_tag" {
  description = "Tag of the image that the daemon runs; null: no daemon yet, for the first apply."
  type        = string
  default     = null
}

variable "on_call_email" {
  description = "Who is told when something is wrong."
  type        = string
}

variable "region" {
  description = "Region of machines and images; it has zones b, c and d."
  type        = string
  default     = "europe-west1"
}

variable "kafka" {
  description = "vm: three brokers on VMs of ours. managed: Google's Managed Service for Apache Kafka."
  type        = string
  default     = "vm"
}

variable "runtime" {
  description = "mig: the daemon on a VM with a disk. worker_pool: on Cloud Run, whose disk is memory."
  type        = string
  default     = "mig"
}

variable "store" {
  description = "Whether to make a Cloud SQL instance; this version of Tidemill does not use it."
  type        = bool
  default     = false
}

variable "operators" {
  description = "Who may log on to the VMs: user:…, group:…"
  type        = set(string)
  default     = []
}

variable "publishers" {
  description = "Who may push images, as IAM names them."
  type        = set(string)
  default     = []
}

variable "external_tables" {
  description = "Lake tables to show in BigQuery once their first hour is there, e.g. { \"raw.recentchange\" = {} }."
  type        = map(object({ grain = optional(string, "hour") }))
  default     = {}
}

variable "billing_account" {
  description = "Billing account for a budget, like 012345-6789AB-CDEF01; null: no budget."
  type        = string
  default     = null
}

variable "budget" {
  description = "The budget of a month, in the billing account's currency."
  type        = number
  default     = 500
}

variable "location" {
  description = "Location of both lake and warehouse: a region or a multi-region."
  type        = string
  default     = "EU"
}

variable "analysts" {
  description = "Who may query the datasets, as IAM names them."
  type        = set(string)
  default     = []
}

variable "datasets" {
  description = "BigQuery datasets that Tidemill writes."
  type        = set(string)
  default     = ["agg"]
}

variable "kms_key" {
  description = "Key of Cloud KMS for everything that holds data; null: Google's own keys."
  type        = string
  default     = null
}

variable "cold_after_days" {
  description = "Age after which raw files move to NEARLINE; null: never."
  type        = number
  default     = 60
}

variable "retention_days" {
  description = "Age after which raw files are deleted; null keeps them for ever. An hour whose files are deleted cannot be reopened or verified."
  type        = number
  default     = null
}
