variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the zones."
  type        = string
}

variable "name" {
  description = "Prefix of the names."
  type        = string
}

variable "brokers" {
  description = "Zone of each broker, by its id. An id keeps its disk and its name for ever, so its zone does not change: a changed zone asks for another disk."
  type        = map(string)
  validation {
    condition     = length(var.brokers) >= 3 && length(distinct(values(var.brokers))) == length(var.brokers)
    error_message = "Three brokers or more, each in a zone of its own: with two of three copies a zone may go, and the quorum stands."
  }
  validation {
    condition     = alltrue([for id, _ in var.brokers : can(regex("^[1-9][0-9]{0,3}$", id))])
    error_message = "An id is a number from 1 to 9999: Kafka's node.id."
  }
}

variable "may_stop" {
  description = "Whether an apply may stop brokers, for a new machine type. Only together with -target on one of them, or all stop at once."
  type        = bool
  default     = false
}

variable "network_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_id" {
  description = "The brokers' subnet."
  type        = string
}

variable "client_cidr" {
  description = "Addresses that clients come from."
  type        = string
  validation {
    condition     = can(cidrhost(var.client_cidr, 0)) && tonumber(split("/", var.client_cidr)[1]) >= 16
    error_message = "A range of the VPC, /16 at most."
  }
}

variable "service_account" {
  description = "E-mail of the brokers' account."
  type        = string
}

variable "kafka_image" {
  description = "Image of Kafka, pulled through the registry of the project, with its tag."
  type        = string
  validation {
    condition     = can(regex("^[^/]+-docker\\.pkg\\.dev/.+:[^:/]+$", var.kafka_image)) && !endswith(var.kafka_image, ":latest")
    error_message = "An image of Artifact Registry with a fixed tag: brokers have no way to the Internet."
  }
}

variable "boot_image" {
  description = "Image of the boot disk: Container-Optimized OS."
  type        = string
  default     = "projects/cos-cloud/global/images/family/cos-stable"
}

variable "machine_type" {
  description = "Machine type of a broker."
  type        = string
}

variable "heap_mb" {
  description = "Heap of a broker; at most half of the machine's memory, because the rest caches files."
  type        = number
  validation {
    condition     = var.heap_mb >= 512
    error_message = "512 MB or more."
  }
}

variable "disk_gb" {
  description = "Data disk of each broker."
  type        = number
  validation {
    condition     = var.disk_gb >= 10
    error_message = "10 GB or more."
  }
}

variable "disk_type" {
  description = "Type of the data disks."
  type        = string
  default     = "pd-balanced"
}

variable "retention_hours" {
  description = "For how long topics without a retention of their own keep records."
  type        = number
  default     = 168
  validation {
    condition     = var.retention_hours >= 24
    error_message = "A day or more: a stream that stands for a weekend must find what it has not read."
  }
}

variable "snapshot_days" {
  description = "For how many days daily snapshots are kept."
  type        = number
  default     = 7
  validation {
    condition     = var.snapshot_days >= 1 && var.snapshot_days <= 365
    error_message = "1 to 365 days."
  }
}

variable "dns_name" {
  description = "Private domain of the brokers' names, with the dot at its end."
  type        = string
  default     = "kafka.internal."
  validation {
    condition     = endswith(var.dns_name, ".")
    error_message = "A domain ends with a dot."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS for the disks; null: Google's own keys."
  type        = string
  default     = null
  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "A key reads projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "deletion_policy" {
  description = "PREVENT, ABANDON or DELETE: what destroy does with the data disks."
  type        = string
  validation {
    condition     = contains(["PREVENT", "ABANDON", "DELETE"], var.deletion_policy)
    error_message = "PREVENT, ABANDON or DELETE."
  }
}

variable "labels" {
  description = "Labels."
  type        = map(string)
  default     = {}
}
