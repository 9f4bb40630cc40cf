# The APIs that the other modules call. They stay enabled on destroy: others may use them by then.
resource "google_project_service" "needed" {
  for_each           = var.services
  project            = var.project_id
  service            = each.value
  disable_on_destroy = false
}
