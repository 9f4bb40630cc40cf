variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the repositories."
  type        = string
}

variable "name" {
  description = "Name of the repository of our images."
  type        = string
}

variable "daemon" {
  description = "The daemon on a VM, as IAM names it: it pulls our images. null: Cloud Run does, with its own account."
  type        = string
  default     = null
}

variable "mirror" {
  description = "Whether public images are fetched through the project."
  type        = bool
}

variable "docker_hub" {
  description = "Account with which public images are fetched; its access token is a version of a secret in Secret Manager (projects/P/secrets/S/versions/V), so it is not in Terraform's state. null: anonymously, within limits that are shared with others."
  type        = object({ username = string, password_secret_version = string })
  default     = null
  validation {
    condition     = var.docker_hub == null || can(regex("^projects/[^/]+/secrets/[^/]+/versions/[^/]+$", var.docker_hub.password_secret_version))
    error_message = "password_secret_version reads projects/P/secrets/S/versions/V."
  }
}

variable "broker" {
  description = "The brokers, as IAM names them: they pull Kafka. Null without a mirror."
  type        = string
  default     = null
}

variable "publishers" {
  description = "Who may push images, as IAM names them."
  type        = set(string)
  default     = []
  validation {
    condition     = length(setintersection(var.publishers, ["allUsers", "allAuthenticatedUsers"])) == 0
    error_message = "Who pushes an image runs code as the daemon: name people, groups or accounts."
  }
}

variable "keep_days" {
  description = "Images older than this are deleted, except the newest 20."
  type        = number
  default     = 90
  validation {
    condition     = var.keep_days >= 7
    error_message = "7 days or more, so that there is something to go back to."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS for the images; null: Google's own keys."
  type        = string
  default     = null
}

variable "deletion_policy" {
  description = "PREVENT, ABANDON or DELETE: what destroy does with our images."
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
