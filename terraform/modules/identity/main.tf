# Who the machines are. No key is ever made: VMs and Cloud Run get tokens of minutes from the metadata
# server. What an account may do stands in the module of the thing that it may do it to; here is only
# what concerns the whole project.

locals {
  accounts = merge(
    { daemon = "Runs Tidemill: streams, batches, the scheduler" },
    var.brokers ? { kafka = "Runs the Kafka brokers" } : {},
  )
  operator_roles = ["roles/iap.tunnelResourceAccessor", "roles/compute.osAdminLogin", "roles/compute.viewer"]
}

resource "google_service_account" "machine" {
  for_each     = local.accounts
  project      = var.project_id
  account_id   = "${var.name}-${each.key}"
  display_name = each.value
}

# On a VM the log goes out as the VM's account; what Cloud Run prints, Cloud Run writes down.
resource "google_project_iam_member" "writes_logs" {
  for_each = { for key, account in google_service_account.machine : key => account if contains(var.on_vms, key) }
  project  = var.project_id
  role     = "roles/logging.logWriter"
  member   = local.members[each.key]
}

resource "google_project_iam_member" "operates" {
  for_each = { for pair in setproduct(var.operators, local.operator_roles) : join(" ", pair) => pair }
  project  = var.project_id
  role     = each.value[1]
  member   = each.value[0]
}

# OS Login asks for it: whoever is root on a VM can act as its account.
resource "google_service_account_iam_member" "operates" {
  for_each           = { for pair in setproduct(var.operators, keys(local.accounts)) : join(" ", pair) => pair }
  service_account_id = google_service_account.machine[each.value[1]].name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value[0]
}

locals {
  # Put together from what is known before anything exists, so that a plan tells who may do what.
  emails  = { for key, account in google_service_account.machine : key => "${account.account_id}@${account.project}.iam.gserviceaccount.com" }
  members = { for key, email in local.emails : key => "serviceAccount:${email}" }
}
