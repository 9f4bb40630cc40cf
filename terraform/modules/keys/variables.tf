variable "project_id" {
  description = "The project whose services encrypt; the keys may be of another one."
  type        = string
}

variable "uses" {
  description = "Key of each service that encrypts: storage, bigquery, compute, artifactregistry, sqladmin, managedkafka, run."
  type        = map(string)
  validation {
    condition     = length(setsubtract(keys(var.uses), ["storage", "bigquery", "compute", "artifactregistry", "sqladmin", "managedkafka", "run"])) == 0
    error_message = "A service is one of storage, bigquery, compute, artifactregistry, sqladmin, managedkafka, run."
  }
  validation {
    condition     = alltrue([for key in values(var.uses) : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", key))])
    error_message = "A key reads projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}
