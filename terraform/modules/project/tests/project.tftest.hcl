mock_provider "google" {}

variables {
  project_id = "p-1"
  services   = ["storage.googleapis.com"]
}

run "apis_stay_enabled_on_destroy" {
  command = plan
  assert {
    condition     = alltrue([for it in google_project_service.needed : it.disable_on_destroy == false])
    error_message = "Another user of the project would lose the API."
  }
}
