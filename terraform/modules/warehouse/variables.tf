variable "project_id" {
  description = "The project."
  type        = string
}

variable "name" {
  description = "Prefix of the names."
  type        = string
}

variable "location" {
  description = "Where the datasets are: the same place as the bucket."
  type        = string
}

variable "bucket" {
  description = "The lake's bucket."
  type        = string
}

variable "datasets" {
  description = "Datasets that Tidemill writes: the part before the dot in to.warehouse.table of its jobs."
  type        = set(string)
  default     = ["agg"]
  validation {
    condition     = length(var.datasets) > 0 && alltrue([for name in var.datasets : can(regex("^[a-z][a-z0-9_]*$", name))])
    error_message = "At least one; lower-case letters, digits and underscores, as in Tidemill's table names."
  }
}

variable "external_tables" {
  description = "Lake tables to show in BigQuery, by name (raw.recentchange) with the grain of their partitions. Add one when its first hour is there: BigQuery takes the columns from the files."
  type        = map(object({ grain = optional(string, "hour") }))
  default     = {}
  validation {
    condition     = alltrue([for name, _ in var.external_tables : can(regex("^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$", name))])
    error_message = "A lake table reads dataset.table, like raw.recentchange."
  }
  validation {
    condition     = alltrue([for table in var.external_tables : contains(["hour", "day", "month"], table.grain)])
    error_message = "A grain is hour, day or month: partition_by of the job."
  }
  validation {
    condition     = length(setintersection([for name, _ in var.external_tables : split(".", name)[0]], var.datasets)) == 0
    error_message = "An external table cannot share a dataset with tables that Tidemill writes: their names would collide."
  }
}

variable "writer" {
  description = "The daemon, as IAM names it."
  type        = string
}

variable "readers" {
  description = "Who may query, as IAM names them."
  type        = set(string)
  default     = []
  validation {
    condition     = length(setintersection(var.readers, ["allUsers", "allAuthenticatedUsers"])) == 0
    error_message = "No dataset is public: name people, groups or accounts."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS for new tables; null: Google's own keys."
  type        = string
  default     = null
  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "A key reads projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "delete_contents" {
  description = "Whether destroy may delete datasets that have tables."
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
