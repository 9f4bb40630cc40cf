# Where the daemon runs. A managed instance group of one VM is the default: a VM that fails is replaced, and
# the new one gets the same disk. The disk is a resource of its own, so it outlives VM and group, grows in
# place and can be made from a snapshot. The alternative is a Cloud Run worker pool; its limits are in
# worker_pool.tf. Two at once are never wanted, so a VM is replaced by deletion first.

locals {
  mig         = var.runtime == "mig" ? 1 : 0
  worker_pool = var.runtime == "worker_pool" ? 1 : 0
  health_port = 8080
  state_disks = var.runtime == "mig" ? var.state_disks : {}
  # The VM must be where its disk is.
  zone = var.state_disks[var.state_disk].zone
}

resource "google_compute_resource_policy" "snapshots" {
  count   = local.mig
  project = var.project_id
  name    = "${var.name}-state-daily"
  region  = var.region

  snapshot_schedule_policy {
    schedule {
      daily_schedule {
        days_in_cycle = 1
        start_time    = "02:00"
      }
    }
    retention_policy {
      max_retention_days    = var.snapshot_days
      on_source_disk_delete = "KEEP_AUTO_SNAPSHOTS"
    }
    snapshot_properties {
      labels = var.labels
    }
  }
}

# Runs, requests and what streams have not yet committed. Losing it loses no row; keeping it keeps history.
resource "google_compute_disk" "state" {
  for_each        = local.state_disks
  project         = var.project_id
  name            = "${var.name}-state-${each.key}"
  zone            = each.value.zone
  type            = "pd-balanced"
  size            = var.state_disk_gb
  snapshot        = each.value.snapshot
  labels          = var.labels
  deletion_policy = var.disk_deletion_policy

  dynamic "disk_encryption_key" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_self_link = disk_encryption_key.value
    }
  }
}

resource "google_compute_disk_resource_policy_attachment" "state" {
  for_each = local.state_disks
  project  = var.project_id
  name     = google_compute_resource_policy.snapshots[0].name
  disk     = google_compute_disk.state[each.key].name
  zone     = each.value.zone
}

resource "google_compute_region_instance_template" "daemon" {
  count        = var.deployed ? local.mig : 0
  project      = var.project_id
  name_prefix  = "${var.name}-daemon-"
  region       = var.region
  machine_type = var.machine_type
  labels       = var.labels

  disk {
    boot         = true
    auto_delete  = true
    source_image = var.boot_image
    disk_size_gb = 20

    dynamic "disk_encryption_key" {
      for_each = var.kms_key == null ? [] : [var.kms_key]
      content {
        kms_key_self_link = disk_encryption_key.value
      }
    }
  }

  network_interface {
    subnetwork = var.subnet_id
  }

  service_account {
    email  = var.service_account
    scopes = ["cloud-platform"] # Its roles are the limit.
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  metadata = {
    enable-oslogin         = "TRUE"
    block-project-ssh-keys = "TRUE"
    serial-port-enable     = "FALSE"
    google-logging-enabled = "TRUE" # The journal: why an image was not pulled or a disk not mounted.
    user-data = templatefile("${path.module}/daemon.yaml.tftpl", {
      image    = var.image
      registry = split("/", var.image)[0]
      env      = var.env
      port     = local.health_port
    })
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_health_check" "daemon" {
  count               = var.deployed ? local.mig : 0
  project             = var.project_id
  name                = "${var.name}-daemon"
  check_interval_sec  = 30
  timeout_sec         = 10
  healthy_threshold   = 1
  unhealthy_threshold = 10 # Five minutes: a restart after a crash takes seconds, a new VM takes minutes.

  http_health_check {
    port         = local.health_port
    request_path = "/"
  }

  log_config {
    enable = true
  }
}

resource "google_compute_firewall" "health" {
  count                   = local.mig
  project                 = var.project_id
  name                    = "${var.name}-daemon-health"
  network                 = var.network_id
  description             = "Google's health checkers ask the VM whether the daemon's unit is up."
  direction               = "INGRESS"
  source_ranges           = ["130.211.0.0/22", "35.191.0.0/16"]
  target_service_accounts = [var.service_account]

  allow {
    protocol = "tcp"
    ports    = [tostring(local.health_port)]
  }
}

# It has no size of its own: the instance below is created by its config, with its disk, and counts as one.
resource "google_compute_instance_group_manager" "daemon" {
  count                     = var.deployed ? local.mig : 0
  project                   = var.project_id
  name                      = "${var.name}-daemon"
  zone                      = local.zone
  base_instance_name        = "${var.name}-daemon"
  wait_for_instances        = true # An upgrade whose VM does not become healthy fails the apply.
  wait_for_instances_status = "STABLE"
  deletion_policy           = var.deletion_policy

  version {
    instance_template = google_compute_region_instance_template.daemon[0].id
  }

  auto_healing_policies {
    health_check      = google_compute_health_check.daemon[0].id
    initial_delay_sec = 300
  }

  update_policy {
    type                           = "PROACTIVE"
    minimal_action                 = "REPLACE"
    most_disruptive_allowed_action = "REPLACE"
    replacement_method             = "RECREATE"
    max_surge_fixed                = 0
    max_unavailable_fixed          = 1
  }
}

resource "google_compute_per_instance_config" "daemon" {
  count                      = var.deployed ? local.mig : 0
  project                    = var.project_id
  zone                       = local.zone
  instance_group_manager     = google_compute_instance_group_manager.daemon[0].name
  name                       = "${var.name}-daemon"
  minimal_action             = "REPLACE" # Another disk needs another VM.
  remove_instance_on_destroy = true      # Or the disk would still be attached when it is to go.
  deletion_policy            = var.deletion_policy

  preserved_state {
    disk {
      device_name = "state"
      source      = google_compute_disk.state[var.state_disk].id
      mode        = "READ_WRITE"
      delete_rule = "NEVER"
    }
  }
}
