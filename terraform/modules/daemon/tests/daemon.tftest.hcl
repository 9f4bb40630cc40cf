mock_provider "google" {}

variables {
  project_id      = "p-1"
  region          = "europe-west1"
  zone            = "europe-west1-b"
  name            = "t"
  image           = "europe-west1-docker.pkg.dev/p-1/t/tidemill:v1"
  service_account = "daemon@p-1.iam.gserviceaccount.com"
  network_id      = "projects/p-1/global/networks/t"
  subnet_id       = "projects/p-1/regions/europe-west1/subnetworks/t-daemon"
  machine_type    = "e2-medium"
  deletion_policy = "DELETE"
}

run "there_is_one_daemon_never_two" {
  command = plan
  assert {
    condition     = google_compute_instance_group_manager.daemon[0].target_size == 1 && google_compute_instance_group_manager.daemon[0].update_policy[0].max_surge_fixed == 0
    error_message = "The old one goes before the new one comes."
  }
}

run "the_state_disk_outlives_the_vm" {
  command = plan
  assert {
    condition     = one([for it in google_compute_instance_group_manager.daemon[0].stateful_disk : it.delete_rule if it.device_name == "state"]) == "NEVER"
    error_message = "A new VM takes the same disk."
  }
  assert {
    condition     = [for it in google_compute_region_instance_template.daemon[0].disk : it.auto_delete if it.boot == false] == [false]
    error_message = "And the template does not delete it."
  }
}

run "the_state_has_snapshots" {
  command = plan
  assert {
    condition     = google_compute_resource_policy.snapshots[0].snapshot_schedule_policy[0].schedule[0].daily_schedule[0].days_in_cycle == 1
    error_message = "Each day."
  }
}

run "a_daemon_that_does_not_come_up_is_replaced" {
  command = plan
  assert {
    condition     = length(google_compute_instance_group_manager.daemon[0].auto_healing_policies) == 1
    error_message = "Auto healing."
  }
}

run "only_googles_health_checkers_may_ask" {
  command = plan
  assert {
    condition     = google_compute_firewall.health[0].source_ranges == toset(["130.211.0.0/22", "35.191.0.0/16"])
    error_message = "Their published ranges."
  }
}

run "the_vm_has_no_public_address" {
  command = plan
  assert {
    condition     = alltrue([for nic in google_compute_region_instance_template.daemon[0].network_interface : length(nic.access_config) == 0 && length(nic.ipv6_access_config) == 0])
    error_message = "An access_config is a public address."
  }
}

run "the_vm_boots_what_it_should_and_takes_no_project_keys" {
  command = plan
  assert {
    condition     = google_compute_region_instance_template.daemon[0].shielded_instance_config[0].enable_secure_boot && google_compute_region_instance_template.daemon[0].metadata["block-project-ssh-keys"] == "TRUE"
    error_message = "Secure boot, OS Login."
  }
}

run "a_stop_lets_streams_commit" {
  command = plan
  assert {
    condition     = strcontains(google_compute_region_instance_template.daemon[0].metadata["user-data"], "--stop-signal SIGINT")
    error_message = "SIGTERM would leave attempts to die with the container."
  }
}

run "the_worker_pool_is_one_instance_in_the_vpc" {
  command = plan
  variables {
    runtime = "worker_pool"
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.daemon[0].scaling[0].manual_instance_count == 1 && google_cloud_run_v2_worker_pool.daemon[0].scaling[0].scaling_mode == "MANUAL"
    error_message = "One daemon."
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.daemon[0].template[0].vpc_access[0].egress == "ALL_TRAFFIC" && google_cloud_run_v2_worker_pool.daemon[0].template[0].service_account == var.service_account
    error_message = "Through the VPC, as the daemon."
  }
  assert {
    condition     = length(google_compute_instance_group_manager.daemon) == 0
    error_message = "And no VM beside it."
  }
}

run "another_runtime_is_refused" {
  command = plan
  variables {
    runtime = "gke"
  }
  expect_failures = [var.runtime]
}

run "an_image_that_can_change_is_refused" {
  command = plan
  variables {
    image = "europe-west1-docker.pkg.dev/p-1/t/tidemill:latest"
  }
  expect_failures = [var.image]
}

run "the_own_key_encrypts" {
  command = plan
  variables {
    kms_key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = alltrue([for it in google_compute_region_instance_template.daemon[0].disk : it.disk_encryption_key[0].kms_key_self_link == var.kms_key])
    error_message = "Both disks."
  }
}
