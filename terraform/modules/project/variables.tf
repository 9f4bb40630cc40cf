variable "project_id" {
  description = "The project in which everything is created; it must exist, with billing."
  type        = string
  validation {
    condition     = length(var.project_id) > 0
    error_message = "Name the project."
  }
}

variable "services" {
  description = "APIs to enable."
  type        = set(string)
}
