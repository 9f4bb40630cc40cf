variable "project_id" {
  description = "The project."
  type        = string
}

variable "name" {
  description = "Prefix of the names."
  type        = string
}

variable "logged_as" {
  description = "Resource type under which Cloud Logging keeps the daemon's lines."
  type        = string
  validation {
    condition     = contains(["gce_instance", "cloud_run_worker_pool"], var.logged_as)
    error_message = "gce_instance or cloud_run_worker_pool."
  }
}

variable "deployed" {
  description = "Whether there is a daemon to hear of: alerts come with it."
  type        = bool
}

variable "on_call_email" {
  description = "Who is told."
  type        = string
  validation {
    condition     = can(regex("^.+@.+$", var.on_call_email))
    error_message = "An e-mail address."
  }
}

variable "behind_seconds" {
  description = "Freshness: how far a stream's watermark may be behind the clock. More than roll.every of its job."
  type        = number
  default     = 1200
  validation {
    condition     = var.behind_seconds >= 60
    error_message = "The daemon says it once a minute: 60 or more."
  }
}

variable "lag_messages" {
  description = "How many messages may wait in Kafka."
  type        = number
  default     = 100000
  validation {
    condition     = var.lag_messages > 0
    error_message = "More than 0: between two commits there is always a lag."
  }
}

variable "quarantined_rows" {
  description = "How many rows of a table may be quarantined in a minute before an alert."
  type        = number
  default     = 0
  validation {
    condition     = var.quarantined_rows >= 0
    error_message = "0 or more."
  }
}

variable "disk_percent" {
  description = "How full a disk may be."
  type        = number
  default     = 80
  validation {
    condition     = var.disk_percent >= 50 && var.disk_percent <= 95
    error_message = "50 to 95 %."
  }
}

variable "billing_account" {
  description = "Billing account for a budget, like 012345-6789AB-CDEF01; null: no budget."
  type        = string
  default     = null
  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "A billing account reads 012345-6789AB-CDEF01."
  }
}

variable "budget" {
  description = "The budget of a month, in the billing account's currency."
  type        = number
  default     = 500
  validation {
    condition     = var.budget > 0 && floor(var.budget) == var.budget
    error_message = "A whole amount above 0."
  }
}

variable "labels" {
  description = "Labels."
  type        = map(string)
  default     = {}
}
