variable "project_id" {
  description = "The project; it must exist, with billing."
  type        = string
}

variable "deployed" {
  description = "Whether the daemon runs. False for the first apply, when there is no image yet."
  type        = bool
  default     = false
}

variable "image_tag" {
  description = "Tag of the image that the daemon runs."
  type        = string
  default     = null
}

variable "on_call_email" {
  description = "Who is told when something is wrong."
  type        = string
}

variable "region" {
  description = "Region of machines and images. broker_zones and state_disks name letters of its zones."
  type        = string
  default     = "europe-west1"
}

variable "broker_zones" {
  description = "Letter of the zone of each broker on a VM of ours, by its id. Regions differ in their letters: us-central1 has a, b, c, f."
  type        = map(string)
  default     = { "1" = "b", "2" = "c", "3" = "d" }
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

variable "state_disk_gb" {
  description = "Size of the daemon's disks. It can grow."
  type        = number
  default     = 20
}

variable "broker_disk_gb" {
  description = "Data disk of each broker on a VM of ours. It can grow."
  type        = number
  default     = 20
}

variable "broker_machine_type" {
  description = "Machine type of a broker. A change stops the brokers: see brokers_may_stop."
  type        = string
  default     = "e2-small"
}

variable "brokers_may_stop" {
  description = "Whether an apply may stop brokers, for a new machine type. Only together with -target on one of them."
  type        = bool
  default     = false
}

variable "kafka_version" {
  description = "Version of Kafka on VMs of ours: a tag of apache/kafka, with the digest if you want to be sure what it is (4.1.0@sha256:…)."
  type        = string
  default     = "4.1.0"
}

variable "docker_hub" {
  description = "Account with which Kafka's image is fetched from Docker Hub; its token is a version of a secret in Secret Manager. null: anonymously, within limits that are shared with others."
  type        = object({ username = string, password_secret_version = string })
  default     = null
}

variable "managed_kafka_without_login" {
  description = "Whether to make a managed cluster although this version of Tidemill cannot log in to it."
  type        = bool
  default     = false
}

variable "kafka" {
  description = "vm: three brokers on VMs of ours. managed: Google's Managed Service for Apache Kafka, to which this version of Tidemill cannot log in."
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
  default     = 150
}
