mock_provider "google" {}

variables {
  project_id = "p-1"
  region     = "europe-west1"
  name       = "t"
  deployed   = true
  image      = "europe-west1-docker.pkg.dev/p-1/t/tidemill:v1"
  state_disks = {
    "1" = { zone = "europe-west1-b" }
    "2" = { zone = "europe-west1-c", snapshot = "before-the-fire" }
  }
  state_disk      = "1"
  service_account = "daemon@p-1.iam.gserviceaccount.com"
  network_id      = "projects/p-1/global/networks/t"
  subnet_id       = "projects/p-1/regions/europe-west1/subnetworks/t-daemon"
  machine_type    = "e2-medium"
  deletion_policy = "DELETE"

  disk_deletion_policy = "PREVENT"
}

run "there_is_one_daemon_never_two" {
  command = plan
  assert {
    condition     = length(google_compute_per_instance_config.daemon) == 1 && google_compute_instance_group_manager.daemon[0].update_policy[0].max_surge_fixed == 0
    error_message = "The old one goes before the new one comes."
  }
}

run "the_state_disk_outlives_the_vm" {
  command = apply
  assert {
    condition     = one([for it in google_compute_per_instance_config.daemon[0].preserved_state[0].disk : it.delete_rule if it.device_name == "state"]) == "NEVER"
    error_message = "A new VM takes the same disk."
  }
  assert {
    condition     = [for it in google_compute_region_instance_template.daemon[0].disk : it.boot] == [true]
    error_message = "The template has none of its own, which would be new and empty for each VM."
  }
  assert {
    condition     = alltrue([for it in google_compute_disk.state : it.deletion_policy == "PREVENT"])
    error_message = "Destroy stops here."
  }
}

run "without_a_daemon_its_disk_stays" {
  command = plan
  variables {
    deployed = false
    image    = null
  }
  assert {
    condition     = length(google_compute_disk.state) == 2 && length(google_compute_instance_group_manager.daemon) == 0 && length(google_compute_per_instance_config.daemon) == 0
    error_message = "The state waits for the next daemon."
  }
}

run "a_daemon_without_an_image_is_refused" {
  command = plan
  variables {
    image = null
  }
  expect_failures = [var.image]
}

run "a_disk_comes_from_a_snapshot_and_the_daemon_follows_it" {
  command = apply
  variables {
    state_disk = "2"
  }
  assert {
    condition     = google_compute_disk.state["2"].snapshot == "before-the-fire" && google_compute_disk.state["1"].snapshot == null
    error_message = "The second disk is a copy of the snapshot, the first is as it was."
  }
  assert {
    condition     = one(google_compute_per_instance_config.daemon[0].preserved_state[0].disk).source == google_compute_disk.state["2"].id
    error_message = "The VM takes the second."
  }
  assert {
    condition     = google_compute_instance_group_manager.daemon[0].zone == "europe-west1-c" && google_compute_per_instance_config.daemon[0].zone == "europe-west1-c"
    error_message = "In its zone."
  }
}

run "a_disk_that_is_not_there_is_refused" {
  command = plan
  variables {
    state_disk = "3"
  }
  expect_failures = [var.state_disk]
}

run "a_larger_disk_is_filled_by_its_file_system" {
  command = plan
  assert {
    condition     = length(regexall("(?s)mount -o discard.*ExecStartPre=-/bin/sh -c 'resize2fs /dev/disk/by-id/google-state'", google_compute_region_instance_template.daemon[0].metadata["user-data"])) == 1
    error_message = "After the mount, at each start; a failure does not stop it."
  }
}

run "the_vm_is_gone_before_its_disk_may_go" {
  command = plan
  assert {
    condition     = google_compute_per_instance_config.daemon[0].remove_instance_on_destroy
    error_message = "An attached disk cannot be deleted, and an old VM would run on."
  }
}

run "an_upgrade_that_does_not_come_up_fails_the_apply" {
  command = plan
  assert {
    condition     = google_compute_instance_group_manager.daemon[0].wait_for_instances && google_compute_instance_group_manager.daemon[0].wait_for_instances_status == "STABLE"
    error_message = "It waits for the VM, and for its health."
  }
}

run "what_keeps_the_container_from_starting_is_told" {
  command = plan
  assert {
    condition     = google_compute_region_instance_template.daemon[0].metadata["google-logging-enabled"] == "TRUE" && strcontains(google_compute_region_instance_template.daemon[0].metadata["user-data"], "ExecStartPre=/usr/bin/docker create ")
    error_message = "The journal, where a failed pull is, goes to Cloud Logging."
  }
  assert {
    condition     = strcontains(google_compute_region_instance_template.daemon[0].metadata["user-data"], "docker start --attach tidemill >/dev/null 2>&1")
    error_message = "The daemon's own lines do not go there too: a metric would count them twice."
  }
}

run "a_stop_ends_before_google_switches_off" {
  command = plan
  assert {
    condition     = max([for it in regexall("(?:--stop-timeout |TimeoutStopSec=)([0-9]+)", google_compute_region_instance_template.daemon[0].metadata["user-data"]) : tonumber(it[0])]...) < 90
    error_message = "A VM has about 90 seconds."
  }
}

run "the_state_has_snapshots" {
  command = plan
  assert {
    condition     = google_compute_resource_policy.snapshots[0].snapshot_schedule_policy[0].schedule[0].daily_schedule[0].days_in_cycle == 1
    error_message = "Each day."
  }
  assert {
    condition     = toset([for it in google_compute_disk_resource_policy_attachment.state : it.disk]) == toset(["t-state-1", "t-state-2"])
    error_message = "Of each disk, by an attachment that goes before the schedule does."
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
    condition     = length(google_compute_instance_group_manager.daemon) == 0 && length(google_compute_disk.state) == 0
    error_message = "And no VM beside it, nor a disk."
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
    condition     = alltrue([for it in concat(google_compute_region_instance_template.daemon[0].disk, values(google_compute_disk.state)) : it.disk_encryption_key[0].kms_key_self_link == var.kms_key])
    error_message = "All disks."
  }
}
