variable "project_id" {
  description = "The project."
  type        = string
}

variable "name" {
  description = "Name of the bucket; names are unique in the whole of Cloud Storage."
  type        = string
}

variable "location" {
  description = "Where the bucket is. The warehouse must be in the same place, or loads fail."
  type        = string
}

variable "writer" {
  description = "The daemon, as IAM names it: the only account that writes."
  type        = string
}

variable "readers" {
  description = "Who else may read files, as IAM names them."
  type        = set(string)
  default     = []
  validation {
    condition     = length(setintersection(var.readers, ["allUsers", "allAuthenticatedUsers"])) == 0
    error_message = "The lake is nobody's public bucket: name people, groups or accounts."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS that encrypts what is written; null: Google's own keys. Its service agent needs roles/cloudkms.cryptoKeyEncrypterDecrypter."
  type        = string
  default     = null
  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "A key reads projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "aging_prefixes" {
  description = "Under which prefixes cold_after_days and retention_days hold, e.g. [\"raw/\"]."
  type        = list(string)
  default     = ["raw/"]
  validation {
    condition     = length(var.aging_prefixes) > 0 && alltrue([for prefix in var.aging_prefixes : can(regex("^[a-z][a-z0-9_]*/", prefix))])
    error_message = "A prefix begins with a dataset and a slash, like raw/; one that reaches _tidemill/ would delete what says which rows count."
  }
}

variable "cold_after_days" {
  description = "Age after which files move to NEARLINE; null: never."
  type        = number
  default     = null
  validation {
    condition     = var.cold_after_days == null || coalesce(var.cold_after_days, 0) >= 30
    error_message = "NEARLINE bills 30 days at least: 30 or more, or null."
  }
}

variable "retention_days" {
  description = "Age after which files are deleted; null keeps them for ever. An hour whose files are deleted cannot be reopened."
  type        = number
  default     = null
  validation {
    condition     = var.retention_days == null || coalesce(var.retention_days, 0) >= 31
    error_message = "A late row may reopen an hour weeks later: 31 days or more, or null."
  }
}

variable "soft_delete_days" {
  description = "For how long a deleted or replaced object can be restored."
  type        = number
  default     = 7
  validation {
    condition     = var.soft_delete_days >= 7 && var.soft_delete_days <= 90
    error_message = "Cloud Storage takes 7 to 90 days (and 0, which we don't)."
  }
}

variable "force_destroy" {
  description = "Whether destroy may delete a bucket that has objects."
  type        = bool
  default     = false
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
