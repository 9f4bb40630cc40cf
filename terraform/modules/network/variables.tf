variable "project_id" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Region of the subnets."
  type        = string
}

variable "name" {
  description = "Name of the VPC, and prefix of the names in it."
  type        = string
}

variable "daemon_cidr" {
  description = "Addresses of the daemon's subnet; a Cloud Run worker pool needs a /26 or larger."
  type        = string
  default     = "10.20.0.0/24"
  validation {
    condition     = can(cidrhost(var.daemon_cidr, 0)) && tonumber(split("/", var.daemon_cidr)[1]) <= 26
    error_message = "Give a range like 10.20.0.0/24, of 64 addresses or more."
  }
}

variable "kafka_cidr" {
  description = "Addresses of the brokers' subnet."
  type        = string
  default     = "10.20.1.0/24"
  validation {
    condition     = can(cidrhost(var.kafka_cidr, 0)) && tonumber(split("/", var.kafka_cidr)[1]) <= 26
    error_message = "Give a range like 10.20.1.0/24, of 64 addresses or more."
  }
}

variable "internet_egress" {
  description = "Whether the daemon may open connections to the Internet (a feed of public events needs it). Brokers never may."
  type        = bool
  default     = true
}

variable "ssh_accounts" {
  description = "Service accounts of the VMs that may be reached by SSH through the identity-aware proxy."
  type        = list(string)
  validation {
    condition     = length(var.ssh_accounts) > 0
    error_message = "A rule without targets would open port 22 of every VM to the proxy: name the accounts."
  }
}
