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

variable "broker_zones" {
  description = "Letter of the zone of each broker of ours, by its id. Regions differ in their letters: us-central1 has a, b, c, f."
  type        = map(string)
  default     = { "1" = "b", "2" = "c", "3" = "d" }
}

variable "brokers_may_stop" {
  description = "Whether an apply may stop brokers, for a new machine type. Only together with -target on one of them."
  type        = bool
  default     = false
}

variable "state_disks" {
  description = "Disks of the daemon's state, by id: letter of the zone, and a snapshot if it is to be made from one."
  type        = map(object({ zone = string, snapshot = optional(string) }))
  default     = { "1" = { zone = "b" } }
}

variable "state_disk" {
  description = "Which of state_disks the daemon uses; it runs in that one's zone."
  type        = string
  default     = "1"
}

variable "location" {
  description = "Location of both lake and warehouse: a region or a multi-region (EU, US)."
  type        = string
}

variable "deployed" {
  description = "Whether the daemon runs. False until an image is pushed."
  type        = bool
  default     = false
}

variable "image_tag" {
  description = "Tag of the image that the daemon runs."
  type        = string
  default     = null
  validation {
    condition     = var.image_tag != null || !var.deployed
    error_message = "A daemon runs an image: set image_tag, in terraform.tfvars and not by -var, so that no apply forgets it."
  }
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
  validation {
    condition     = var.kafka != "managed" || var.managed_kafka_without_login
    error_message = "Managed Kafka wants OAuth tokens, which this version of Tidemill cannot get: the cluster would bill and nobody could log in. Set managed_kafka_without_login = true to make it all the same."
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
  description = "Version of Kafka on VMs of ours: a tag of apache/kafka, with the digest if you want to be sure what it is (4.1.0@sha256:…)."
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

variable "managed_kafka_without_login" {
  description = "Whether to make a managed cluster although this version of Tidemill cannot log in to it."
  type        = bool
  default     = false
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

variable "docker_hub" {
  description = "Account with which Kafka's image is fetched from Docker Hub; its token is in Secret Manager. null: anonymously."
  type        = object({ username = string, password_secret_version = string })
  default     = null
}

variable "state_disk_gb" {
  description = "Size of the daemon's disks. It can grow."
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
  description = "Key of Cloud KMS, in the region, for disks, images, Cloud SQL and managed Kafka; for the lake too, if it is in the region. null: Google's own keys."
  type        = string
  default     = null
  validation {
    condition     = var.kms_key == null || try(split("/", coalesce(var.kms_key, "/"))[3], "") == var.region
    error_message = "A key works where it lies: kms_key must be in the region of the machines."
  }
}

variable "lake_kms_key" {
  description = "Key of Cloud KMS where lake and warehouse are, if that is not the region. A bucket in EU asks for a key in europe."
  type        = string
  default     = null
  validation {
    condition     = var.lake_kms_key == null || try(split("/", coalesce(var.lake_kms_key, "/"))[3], "") == (upper(var.location) == "EU" ? "europe" : lower(var.location))
    error_message = "A key works where it lies: lake_kms_key must be in the location of the lake (europe for EU)."
  }
  validation {
    condition     = var.lake_kms_key != null || var.kms_key == null || lower(var.location) == lower(var.region)
    error_message = "The lake is not in the region, so kms_key cannot encrypt it: give lake_kms_key too."
  }
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

variable "daemon_deletion_policy" {
  description = "The same for the daemon alone, which holds none: DELETE before it is moved to another zone. null: as deletion_policy."
  type        = string
  default     = null
  validation {
    condition     = var.daemon_deletion_policy == null || contains(["PREVENT", "DELETE"], coalesce(var.daemon_deletion_policy, "DELETE"))
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
