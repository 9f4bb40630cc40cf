variable "project_id" {
  description = "The project; it must exist, with billing."
  type        = string
}

variable "region" {
  description = "Region of the bucket of the state."
  type        = string
  default     = "europe-west1"
}

variable "repository_id" {
  description = "Number of the GitHub repository whose workflows may come: `gh api repos/OWNER/NAME --jq .id`."
  type        = string
  validation {
    condition     = can(regex("^[0-9]+$", var.repository_id))
    error_message = "A number, not a name: a name that is given up can be taken by others."
  }
}

variable "environment" {
  description = "GitHub environment whose jobs may apply. Give it required reviewers, and the branch main only."
  type        = string
  default     = "production"
}
