variable "project_id" {
  description = "The project that everything is made in; it exists already, with billing."
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
