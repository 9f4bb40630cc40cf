mock_provider "google" {}

variables {
  project_id   = "p-1"
  region       = "europe-west1"
  name         = "t"
  ssh_accounts = ["daemon@p-1.iam.gserviceaccount.com"]
}

run "subnets_are_made_by_us_and_private" {
  command = plan
  assert {
    condition     = google_compute_network.vpc.auto_create_subnetworks == false
    error_message = "Automatic subnets span the world."
  }
  assert {
    condition     = alltrue([for it in google_compute_subnetwork.part : it.private_ip_google_access && it.stack_type == "IPV4_ONLY"])
    error_message = "Google's APIs are reached privately, and IPv6 would be public."
  }
}

run "brokers_have_no_way_to_the_internet" {
  command = apply
  assert {
    condition     = google_compute_router_nat.out[0].source_subnetwork_ip_ranges_to_nat == "LIST_OF_SUBNETWORKS"
    error_message = "Only listed subnets are translated."
  }
  assert {
    condition     = [for it in google_compute_router_nat.out[0].subnetwork : it.name] == [google_compute_subnetwork.part["daemon"].id]
    error_message = "The daemon's subnet alone."
  }
}

run "a_daemon_without_feeds_needs_no_internet" {
  command = plan
  variables {
    internet_egress = false
  }
  assert {
    condition     = length(google_compute_router_nat.out) == 0
    error_message = "No address is translated."
  }
}

run "what_no_rule_names_is_denied" {
  command = plan
  assert {
    condition     = [for it in google_compute_firewall.deny.deny : it.protocol] == ["all"] && length(google_compute_firewall.deny.allow) == 0
    error_message = "All protocols are denied."
  }
  assert {
    condition     = google_compute_firewall.deny.source_ranges == toset(["0.0.0.0/0"]) && google_compute_firewall.deny.priority == 65000
    error_message = "From everywhere, after every other rule."
  }
}

run "ssh_comes_from_the_identity_aware_proxy_only" {
  command = plan
  assert {
    condition     = google_compute_firewall.iap_ssh.source_ranges == toset(["35.235.240.0/20"])
    error_message = "These are the proxy's addresses."
  }
  assert {
    condition     = google_compute_firewall.iap_ssh.target_service_accounts == toset(var.ssh_accounts)
    error_message = "Only VMs of these accounts."
  }
}

run "ssh_to_every_machine_is_refused" {
  command = plan
  variables {
    ssh_accounts = []
  }
  expect_failures = [var.ssh_accounts]
}

run "a_subnet_too_small_for_cloud_run_is_refused" {
  command = plan
  variables {
    daemon_cidr = "10.0.0.0/27"
  }
  expect_failures = [var.daemon_cidr]
}
