variable "project_id" {
  description = "The project."
  type        = string
}

variable "name" {
  description = "Prefix of the accounts' names."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.name))
    error_message = "Lower-case letters, digits and dashes, 21 at most: account ids take 30."
  }
}

variable "brokers" {
  description = "Whether brokers run on VMs of ours and need an account."
  type        = bool
}

variable "on_vms" {
  description = "Which accounts are those of VMs, and write their log themselves: daemon, kafka."
  type        = set(string)
  validation {
    condition     = length(setsubtract(var.on_vms, ["daemon", "kafka"])) == 0
    error_message = "daemon or kafka."
  }
}

variable "operators" {
  description = "Who may log on to the VMs through the identity-aware proxy: user:…, group:…"
  type        = set(string)
  default     = []
  validation {
    condition     = alltrue([for who in var.operators : can(regex("^(user|group):.+@.+$", who))])
    error_message = "Operators are people: user:name@example.org or group:name@example.org."
  }
}
