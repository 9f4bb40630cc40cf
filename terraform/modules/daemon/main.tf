# Where the daemon runs. A managed instance group of one VM is the default: its disk outlives it, and a
# daemon that does not come up is replaced. The alternative is a Cloud Run worker pool; its limits are in
# worker_pool.tf. Two at once are never wanted, so a VM is replaced by deletion first.

locals {
  mig         = var.runtime == "mig" ? 1 : 0
  worker_pool = var.runtime == "worker_pool" ? 1 : 0
  health_port = 8080
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

resource "google_compute_region_instance_template" "daemon" {
  count        = local.mig
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

  # Runs, requests and what streams have not yet committed. Losing it loses no row; keeping it keeps history.
  disk {
    boot              = false
    auto_delete       = false
    device_name       = "state"
    disk_type         = "pd-balanced"
    disk_size_gb      = var.state_disk_gb
    labels            = var.labels
    resource_policies = [google_compute_resource_policy.snapshots[0].id]

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
  count               = local.mig
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

resource "google_compute_instance_group_manager" "daemon" {
  count              = local.mig
  project            = var.project_id
  name               = "${var.name}-daemon"
  zone               = var.zone
  base_instance_name = "${var.name}-daemon"
  target_size        = 1
  deletion_policy    = var.deletion_policy

  version {
    instance_template = google_compute_region_instance_template.daemon[0].id
  }

  stateful_disk {
    device_name = "state"
    delete_rule = "NEVER"
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
