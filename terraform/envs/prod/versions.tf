terraform {
  required_version = ">= 1.11"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "8.7.0" # What was tested. The lock file of your first init pins its contents: commit it.
    }
  }
}

provider "google" {
  project               = var.project_id
  region                = var.region
  user_project_override = true # A budget asks for a project to bill its API to.
  billing_project       = var.project_id
}
