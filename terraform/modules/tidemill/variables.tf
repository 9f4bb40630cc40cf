variable "project_id" {
  description = "The project; it must exist, with billing."
  type        = string
}

variable "env" {
  description = "Which environment this is: a label."
  type        = string
}

variable "name" {
  description = "Prefix of all names."
  type        = string
  default     = "tidemill"
}

variable "region" {
  description = "Region of machines and images."
  type        = string
}

variable "zones" {
  description = "Letters of the zones: one broker in each, the daemon in the first."
  type        = list(string)
  default     = ["b", "c", "d"]
  validation {
    condition     = length(var.zones) >= 3 && length(distinct(var.zones)) == length(var.zones)
    error_message = "Three zones or more, each once."
  }
}

variable "location" {
  description = "Location of both lake and warehouse: a region or a multi-region (EU, US)."
  type        = string
}

variable "image_tag" {
  description = "Tag of the image that the daemon runs; null: no daemon yet."
  type        = string
  default     = null
}

variable "on_call_email" {
  description = "Who is told when something is wrong."
  type        = string
}

variable "kafka" {
  description = "vm: brokers on VMs of ours. managed: Google's."
  type        = string
  validation {
    condition     = contains(["vm", "managed"], var.kafka)
    error_message = "vm or managed."
  }
}

variable "runtime" {
  description = "mig or worker_pool: where the daemon runs."
  type        = string
  validation {
    condition     = contains(["mig", "worker_pool"], var.runtime)
    error_message = "mig or worker_pool."
  }
}

variable "kafka_version" {
  description = "Version of Kafka on VMs of ours: a tag of apache/kafka."
  type        = string
  default     = "4.1.0"
}

variable "broker_machine_type" {
  description = "Machine type of a broker."
  type        = string
}

variable "broker_heap_mb" {
  description = "Heap of a broker."
  type        = number
}

variable "broker_disk_gb" {
  description = "Data disk of a broker."
  type        = number
}

variable "managed_vcpus" {
  description = "vCPUs of the managed cluster."
  type        = number
  default     = 3
}

variable "managed_memory_gib_per_vcpu" {
  description = "Memory of the managed cluster for each vCPU."
  type        = number
  default     = 4
}

variable "ca_pool" {
  description = "Pool whose client certificates the managed cluster takes; null: tokens only."
  type        = string
  default     = null
}

variable "daemon_machine_type" {
  description = "Machine type of the daemon."
  type        = string
}

variable "state_disk_gb" {
  description = "Disk of the daemon."
  type        = number
  default     = 20
}

variable "store" {
  description = "Whether to make a Cloud SQL instance. This version of Tidemill keeps its state in SQLite on the daemon's disk and does not use it."
  type        = bool
  default     = false
}

variable "store_tier" {
  description = "Machine type of the Cloud SQL instance."
  type        = string
  default     = "db-custom-1-3840"
}

variable "store_high_availability" {
  description = "Whether a second zone stands by for it."
  type        = bool
  default     = false
}

variable "datasets" {
  description = "BigQuery datasets that Tidemill writes."
  type        = set(string)
  default     = ["agg"]
}

variable "external_tables" {
  description = "Lake tables to show in BigQuery, with their grain."
  type        = map(object({ grain = optional(string, "hour") }))
  default     = {}
}

variable "analysts" {
  description = "Who may query the datasets, as IAM names them."
  type        = set(string)
  default     = []
}

variable "lake_readers" {
  description = "Who else may read the lake's files, as IAM names them."
  type        = set(string)
  default     = []
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

variable "internet_egress" {
  description = "Whether the daemon may open connections to the Internet."
  type        = bool
  default     = true
}

variable "kms_key" {
  description = "Key of Cloud KMS for everything that holds data; null: Google's own keys."
  type        = string
  default     = null
}

variable "cold_after_days" {
  description = "Age after which raw files move to NEARLINE; null: never."
  type        = number
  default     = null
}

variable "retention_days" {
  description = "Age after which raw files are deleted; null keeps them for ever."
  type        = number
  default     = null
}

variable "soft_delete_days" {
  description = "For how long a deleted object can be restored."
  type        = number
  default     = 7
}

variable "deletion_policy" {
  description = "PREVENT or DELETE: what destroy does with resources that hold data."
  type        = string
  validation {
    condition     = contains(["PREVENT", "DELETE"], var.deletion_policy)
    error_message = "PREVENT or DELETE."
  }
}

variable "behind_seconds" {
  description = "How far a stream may be behind the clock before an alert."
  type        = number
  default     = 1200
}

variable "lag_messages" {
  description = "How many messages may wait in Kafka before an alert."
  type        = number
  default     = 100000
}

variable "billing_account" {
  description = "Billing account for a budget; null: no budget."
  type        = string
  default     = null
}

variable "budget" {
  description = "The budget of a month, in the billing account's currency."
  type        = number
  default     = 500
}

variable "labels" {
  description = "More labels for everything."
  type        = map(string)
  default     = {}
}
