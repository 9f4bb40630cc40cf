variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the cluster."
  type        = string
}

variable "name" {
  description = "Name of the cluster."
  type        = string
}

variable "subnet_id" {
  description = "Subnet in which its addresses appear."
  type        = string
}

variable "client" {
  description = "The daemon, as IAM names it."
  type        = string
}

variable "vcpus" {
  description = "vCPUs of the cluster, over its three zones."
  type        = number
  default     = 3
  validation {
    condition     = var.vcpus >= 3
    error_message = "3 or more: one a zone."
  }
}

variable "memory_gib_per_vcpu" {
  description = "Memory for each vCPU."
  type        = number
  default     = 4
  validation {
    condition     = var.memory_gib_per_vcpu >= 1 && var.memory_gib_per_vcpu <= 8
    error_message = "1 to 8 GiB for each vCPU."
  }
}

variable "ca_pool" {
  description = "Pool of Certificate Authority Service whose client certificates are taken (mTLS); null: OAuth tokens only."
  type        = string
  default     = null
  validation {
    condition     = var.ca_pool == null || can(regex("^projects/[^/]+/locations/[^/]+/caPools/[^/]+$", var.ca_pool))
    error_message = "A pool reads projects/P/locations/L/caPools/C."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS for the data; null: Google's own keys."
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
