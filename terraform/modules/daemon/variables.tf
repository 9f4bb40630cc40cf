variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region."
  type        = string
}

variable "name" {
  description = "Prefix of the names."
  type        = string
}

variable "runtime" {
  description = "mig: one VM that is replaced when it fails, with a disk. worker_pool: Cloud Run, without."
  type        = string
  default     = "mig"
  validation {
    condition     = contains(["mig", "worker_pool"], var.runtime)
    error_message = "mig or worker_pool."
  }
}

variable "deployed" {
  description = "Whether the daemon runs. Its disk is there either way."
  type        = bool
}

variable "image" {
  description = "Image of Tidemill with the project's files, with its tag; null only while nothing is deployed."
  type        = string
  validation {
    condition     = var.image != null || !var.deployed
    error_message = "A daemon runs an image: set image_tag, in terraform.tfvars and not by -var, so that no apply forgets it."
  }
  validation {
    condition     = var.image == null || (can(regex("^[^/]+-docker\\.pkg\\.dev/.+:[^:/]+$", coalesce(var.image, "none"))) && !endswith(coalesce(var.image, "none"), ":latest"))
    error_message = "An image of Artifact Registry with a tag that says what it is, not :latest."
  }
}

variable "env" {
  description = "The environment (--env): keys of the image's tidemill.<env>.toml replace those of tidemill.toml."
  type        = string
  default     = "gcp"
}

variable "service_account" {
  description = "E-mail of the daemon's account."
  type        = string
}

variable "network_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_id" {
  description = "The daemon's subnet."
  type        = string
}

variable "machine_type" {
  description = "Machine type of the VM."
  type        = string
}

variable "boot_image" {
  description = "Image of the boot disk: Container-Optimized OS."
  type        = string
  default     = "projects/cos-cloud/global/images/family/cos-stable"
}

variable "state_disks" {
  description = "Disks of the daemon's state, by id, each with its zone and, if it is to be made from one, its snapshot. One of them is in use; another may be what a restore or a move to another zone left behind."
  type        = map(object({ zone = string, snapshot = optional(string) }))
  validation {
    condition     = length(var.state_disks) > 0 && alltrue([for id, _ in var.state_disks : can(regex("^[a-z0-9]{1,20}$", id))])
    error_message = "At least one; an id is of lower-case letters and digits."
  }
}

variable "state_disk" {
  description = "Which of state_disks the daemon uses: it runs in that one's zone."
  type        = string
  validation {
    condition     = contains(keys(var.state_disks), var.state_disk)
    error_message = "state_disk names one of state_disks."
  }
}

variable "state_disk_gb" {
  description = "Size of each, for state, logs of attempts, unfinished files and what queries spill. A larger number grows them in place, a smaller one is refused by Google."
  type        = number
  default     = 20
  validation {
    condition     = var.state_disk_gb >= 10
    error_message = "10 GB or more."
  }
}

variable "snapshot_days" {
  description = "For how many days daily snapshots of the state are kept."
  type        = number
  default     = 7
  validation {
    condition     = var.snapshot_days >= 1 && var.snapshot_days <= 365
    error_message = "1 to 365 days."
  }
}

variable "worker_cpu" {
  description = "CPUs of the worker pool's instance."
  type        = string
  default     = "2"
}

variable "worker_memory" {
  description = "Memory of the worker pool's instance; its disk is in it."
  type        = string
  default     = "8Gi"
}

variable "worker_state" {
  description = "How much of that memory the state and unfinished files may use."
  type        = string
  default     = "3Gi"
}

variable "kms_key" {
  description = "Key of Cloud KMS for the disks; null: Google's own keys."
  type        = string
  default     = null
}

variable "deletion_policy" {
  description = "PREVENT, ABANDON or DELETE: what destroy does with the group or pool."
  type        = string
  validation {
    condition     = contains(["PREVENT", "ABANDON", "DELETE"], var.deletion_policy)
    error_message = "PREVENT, ABANDON or DELETE."
  }
}

variable "disk_deletion_policy" {
  description = "The same for the disks of its state."
  type        = string
  validation {
    condition     = contains(["PREVENT", "ABANDON", "DELETE"], var.disk_deletion_policy)
    error_message = "PREVENT, ABANDON or DELETE."
  }
}

variable "labels" {
  description = "Labels."
  type        = map(string)
  default     = {}
}
