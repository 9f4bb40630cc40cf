mock_provider "google" {}

variables {
  project_id = "p-1"
  name       = "tm"
  brokers    = true
  on_vms     = ["daemon", "kafka"]
}

run "machines_may_write_logs_and_nothing_else_in_the_project" {
  command = plan
  assert {
    condition     = toset([for it in output.grants : "${it.member} ${it.role} ${it.on}"]) == toset([for who in ["daemon", "kafka"] : "serviceAccount:tm-${who}@p-1.iam.gserviceaccount.com roles/logging.logWriter project"])
    error_message = "One role each."
  }
}

run "who_runs_on_no_vm_needs_no_right_to_write_logs" {
  command = plan
  variables {
    on_vms = ["kafka"]
  }
  assert {
    condition     = [for it in output.grants : it.member] == ["serviceAccount:tm-kafka@p-1.iam.gserviceaccount.com"]
    error_message = "Cloud Run writes down what the daemon prints."
  }
}

run "brokers_that_are_not_ours_have_no_account" {
  command = plan
  variables {
    brokers = false
  }
  assert {
    condition     = keys(google_service_account.machine) == ["daemon"]
    error_message = "An account without a machine is a risk without a use."
  }
}

run "operators_log_on_and_look_but_change_nothing" {
  command = plan
  variables {
    operators = ["group:ops@example.org"]
    brokers   = false
  }
  assert {
    condition     = toset([for it in google_project_iam_member.operates : it.role]) == toset(["roles/iap.tunnelResourceAccessor", "roles/compute.osAdminLogin", "roles/compute.viewer"])
    error_message = "The proxy, the login, and reading."
  }
  assert {
    condition     = [for it in google_service_account_iam_member.operates : it.role] == ["roles/iam.serviceAccountUser"]
    error_message = "OS Login asks for this one on the VM's account, and no more."
  }
}

run "operators_are_people" {
  command = plan
  variables {
    operators = ["allUsers"]
  }
  expect_failures = [var.operators]
}
