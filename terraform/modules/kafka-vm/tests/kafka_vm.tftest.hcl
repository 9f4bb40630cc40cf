mock_provider "google" {}

variables {
  project_id      = "p-1"
  region          = "europe-west1"
  name            = "t-kafka"
  brokers         = { "1" = "europe-west1-b", "2" = "europe-west1-c", "3" = "europe-west1-d" }
  network_id      = "projects/p-1/global/networks/t"
  subnet_id       = "projects/p-1/regions/europe-west1/subnetworks/t-kafka"
  client_cidr     = "10.20.0.0/24"
  service_account = "kafka@p-1.iam.gserviceaccount.com"
  kafka_image     = "europe-west1-docker.pkg.dev/p-1/t-mirror/apache/kafka:4.1.0"
  machine_type    = "e2-small"
  heap_mb         = 768
  disk_gb         = 20
  deletion_policy = "PREVENT"
}

run "brokers_are_in_three_zones" {
  command = plan
  assert {
    condition     = tomap(output.zones) == var.brokers
    error_message = "Each where it was asked for."
  }
  assert {
    condition     = alltrue([for id, it in google_compute_disk.data : it.zone == google_compute_instance.broker[id].zone])
    error_message = "With its disk."
  }
}

run "two_zones_are_refused" {
  command = plan
  variables {
    brokers = { "1" = "europe-west1-b", "2" = "europe-west1-c" }
  }
  expect_failures = [var.brokers]
}

run "a_zone_twice_is_refused" {
  command = plan
  variables {
    brokers = { "1" = "europe-west1-b", "2" = "europe-west1-c", "3" = "europe-west1-c" }
  }
  expect_failures = [var.brokers]
}

run "what_is_no_node_id_is_refused" {
  command = plan
  variables {
    brokers = { "a" = "europe-west1-b", "2" = "europe-west1-c", "3" = "europe-west1-d" }
  }
  expect_failures = [var.brokers]
}

# By id, not by place in a list: another order, or a broker more, would ask for other disks.
run "a_broker_keeps_its_disk_whatever_is_beside_it" {
  command = plan
  variables {
    brokers = { "3" = "europe-west1-d", "7" = "europe-west1-a", "1" = "europe-west1-b", "2" = "europe-west1-c" }
  }
  assert {
    condition     = { for id, it in google_compute_disk.data : it.name => it.zone } == { t-kafka-b1-data = "europe-west1-b", t-kafka-b2-data = "europe-west1-c", t-kafka-b3-data = "europe-west1-d", t-kafka-b7-data = "europe-west1-a" }
    error_message = "Disk, name and node id go with the id."
  }
  assert {
    condition     = strcontains(google_compute_instance.broker["7"].metadata["user-data"], "KAFKA_NODE_ID=7 ")
    error_message = "Disk, name and node id go with the id."
  }
}

run "a_plain_apply_stops_no_broker" {
  command = plan
  assert {
    condition     = alltrue([for it in google_compute_instance.broker : it.allow_stopping_for_update == false])
    error_message = "A new machine type would stop all of them at once."
  }
}

run "a_larger_disk_is_filled_by_its_file_system" {
  command = plan
  assert {
    condition     = alltrue([for it in google_compute_instance.broker : length(regexall("(?s)mount -o discard.*ExecStartPre=-/bin/sh -c 'resize2fs /dev/disk/by-id/google-data'", it.metadata["user-data"])) == 1])
    error_message = "After the mount, at each start; a failure does not stop it."
  }
}

run "what_keeps_a_broker_from_starting_is_told" {
  command = plan
  assert {
    condition     = alltrue([for it in google_compute_instance.broker : it.metadata["google-logging-enabled"] == "TRUE" && strcontains(it.metadata["user-data"], "ExecStartPre=/usr/bin/docker create ")])
    error_message = "The journal, where a failed pull is, goes to Cloud Logging."
  }
}

run "a_stop_ends_before_google_switches_off" {
  command = plan
  assert {
    condition     = max([for it in regexall("(?:--stop-timeout |TimeoutStopSec=)([0-9]+)", google_compute_instance.broker["1"].metadata["user-data"]) : tonumber(it[0])]...) < 90
    error_message = "A VM has about 90 seconds."
  }
}

run "docker_hub_is_not_asked_every_few_seconds" {
  command = plan
  assert {
    condition     = tonumber(regex("RestartSec=([0-9]+)", google_compute_instance.broker["1"].metadata["user-data"])[0]) >= 30
    error_message = "Each start may fetch the image, and what it fetches is counted."
  }
}

run "brokers_have_no_public_address" {
  command = plan
  assert {
    condition     = alltrue(flatten([for it in google_compute_instance.broker : [for nic in it.network_interface : length(nic.access_config) == 0 && length(nic.ipv6_access_config) == 0]]))
    error_message = "An access_config is a public address."
  }
  assert {
    condition     = alltrue([for it in google_compute_address.broker : it.address_type == "INTERNAL"])
    error_message = "Their fixed addresses are the subnet's."
  }
}

run "names_are_known_in_the_vpc_only" {
  command = plan
  assert {
    condition     = google_dns_managed_zone.kafka.visibility == "private" && length(google_dns_managed_zone.kafka.private_visibility_config) == 1
    error_message = "A private zone."
  }
}

run "clients_come_from_the_daemons_subnet_only" {
  command = plan
  assert {
    condition     = google_compute_firewall.clients.source_ranges == toset([var.client_cidr]) && google_compute_firewall.clients.target_service_accounts == toset([var.service_account])
    error_message = "Nobody else speaks to 9092."
  }
  assert {
    condition     = flatten([for it in google_compute_firewall.clients.allow : it.ports]) == ["9092"]
    error_message = "The controllers' port is the brokers' own."
  }
}

run "only_brokers_vote" {
  command = plan
  assert {
    condition     = google_compute_firewall.brokers.source_service_accounts == toset([var.service_account]) && google_compute_firewall.brokers.source_ranges == null
    error_message = "9093 is open among brokers."
  }
}

run "clients_from_everywhere_are_refused" {
  command = plan
  variables {
    client_cidr = "0.0.0.0/0"
  }
  expect_failures = [var.client_cidr]
}

run "disks_are_kept_and_have_snapshots" {
  command = plan
  assert {
    condition     = alltrue([for it in google_compute_disk.data : it.deletion_policy == "PREVENT"])
    error_message = "Destroy stops here."
  }
  assert {
    condition     = length(google_compute_disk_resource_policy_attachment.data) == 3 && google_compute_resource_policy.snapshots.snapshot_schedule_policy[0].retention_policy[0].max_retention_days == 7
    error_message = "Each disk, each day, for a week."
  }
}

run "a_row_is_on_two_disks_before_it_is_acknowledged" {
  command = plan
  assert {
    condition     = alltrue([for it in google_compute_instance.broker : strcontains(it.metadata["user-data"], "KAFKA_DEFAULT_REPLICATION_FACTOR=3") && strcontains(it.metadata["user-data"], "KAFKA_MIN_INSYNC_REPLICAS=2")])
    error_message = "Three copies, two of them in time."
  }
}

run "the_own_key_encrypts" {
  command = plan
  variables {
    kms_key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = alltrue([for it in google_compute_disk.data : it.disk_encryption_key[0].kms_key_self_link == var.kms_key])
    error_message = "The data disks' key."
  }
}

run "an_image_that_can_change_is_refused" {
  command = plan
  variables {
    kafka_image = "europe-west1-docker.pkg.dev/p-1/t-mirror/apache/kafka:latest"
  }
  expect_failures = [var.kafka_image]
}

run "machines_boot_what_they_should_and_take_no_project_keys" {
  command = plan
  assert {
    condition     = alltrue([for it in google_compute_instance.broker : it.shielded_instance_config[0].enable_secure_boot && it.metadata["block-project-ssh-keys"] == "TRUE" && it.metadata["enable-oslogin"] == "TRUE"])
    error_message = "Secure boot, OS Login."
  }
}
