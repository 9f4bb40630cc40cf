variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the instance."
  type        = string
}

variable "name" {
  description = "Prefix of the names."
  type        = string
}

variable "network_id" {
  description = "The VPC from which it is reached."
  type        = string
}

variable "daemon_email" {
  description = "E-mail of the daemon's account."
  type        = string
}

variable "tier" {
  description = "Machine type of the instance."
  type        = string
  default     = "db-custom-1-3840"
}

variable "high_availability" {
  description = "Whether a second zone stands by."
  type        = bool
  default     = false
}

variable "backup_days" {
  description = "How many daily backups are kept."
  type        = number
  default     = 14
  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 365
    error_message = "7 to 365 days."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS for the disk; null: Google's own keys."
  type        = string
  default     = null
  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "A key reads projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "deletion_policy" {
  description = "PREVENT, ABANDON or DELETE: what destroy does."
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
