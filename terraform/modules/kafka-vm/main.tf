# Kafka on VMs: a broker and controller (KRaft) in each zone, so that one zone can go and every record
# is still on two disks. A VM holds nothing but its data disk; another with the same disk is the same broker.
# A plain apply stops no broker: what needs a stop is done to one after the other, as
# docs/how-to/deploy-gcp.md says.

locals {
  hosts = { for id, _ in var.brokers : id => "b${id}.${trimsuffix(var.dns_name, ".")}" }
  # A KRaft cluster id is 16 bytes in base64. This one is made of names, so that no state has to keep it.
  cluster_id = trimsuffix(base64encode(substr(sha256("${var.project_id}/${var.name}"), 0, 16)), "==")
  voters     = join(",", [for id, host in local.hosts : "${id}@${host}:9093"])
}

resource "google_compute_address" "broker" {
  for_each     = var.brokers
  project      = var.project_id
  name         = "${var.name}-b${each.key}"
  region       = var.region
  address_type = "INTERNAL"
  subnetwork   = var.subnet_id
}

resource "google_dns_managed_zone" "kafka" {
  project     = var.project_id
  name        = var.name
  dns_name    = var.dns_name
  description = "Names of the brokers, inside the VPC only"
  visibility  = "private"
  labels      = var.labels

  private_visibility_config {
    networks {
      network_url = var.network_id
    }
  }
}

resource "google_dns_record_set" "broker" {
  for_each     = var.brokers
  project      = var.project_id
  managed_zone = google_dns_managed_zone.kafka.name
  name         = "${local.hosts[each.key]}."
  type         = "A"
  ttl          = 60
  rrdatas      = [google_compute_address.broker[each.key].address]
}

resource "google_compute_resource_policy" "snapshots" {
  project = var.project_id
  name    = "${var.name}-daily"
  region  = var.region

  snapshot_schedule_policy {
    schedule {
      daily_schedule {
        days_in_cycle = 1
        start_time    = "03:00"
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

resource "google_compute_disk" "data" {
  for_each        = var.brokers
  project         = var.project_id
  name            = "${var.name}-b${each.key}-data"
  zone            = each.value
  type            = var.disk_type
  size            = var.disk_gb
  labels          = var.labels
  deletion_policy = var.deletion_policy

  dynamic "disk_encryption_key" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_self_link = disk_encryption_key.value
    }
  }
}

resource "google_compute_disk_resource_policy_attachment" "data" {
  for_each = var.brokers
  project  = var.project_id
  name     = google_compute_resource_policy.snapshots.name
  disk     = google_compute_disk.data[each.key].name
  zone     = each.value
}

resource "google_compute_instance" "broker" {
  for_each                  = var.brokers
  project                   = var.project_id
  name                      = "${var.name}-b${each.key}"
  zone                      = each.value
  machine_type              = var.machine_type
  allow_stopping_for_update = var.may_stop
  labels                    = var.labels

  boot_disk {
    kms_key_self_link = var.kms_key
    initialize_params {
      image = var.boot_image
      size  = 20
    }
  }

  attached_disk {
    source            = google_compute_disk.data[each.key].id
    device_name       = "data"
    kms_key_self_link = var.kms_key
  }

  network_interface {
    subnetwork = var.subnet_id
    network_ip = google_compute_address.broker[each.key].address
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
    user-data = templatefile("${path.module}/broker.yaml.tftpl", {
      image      = var.kafka_image
      registry   = split("/", var.kafka_image)[0]
      id         = each.key
      host       = local.hosts[each.key]
      zone       = each.value
      voters     = local.voters
      cluster_id = local.cluster_id
      heap_mb    = var.heap_mb
      hours      = var.retention_hours
    })
  }
}

resource "google_compute_firewall" "clients" {
  project                 = var.project_id
  name                    = "${var.name}-clients"
  network                 = var.network_id
  description             = "Clients speak to brokers from the daemon's subnet only."
  direction               = "INGRESS"
  source_ranges           = [var.client_cidr]
  target_service_accounts = [var.service_account]

  allow {
    protocol = "tcp"
    ports    = ["9092"]
  }
}

resource "google_compute_firewall" "brokers" {
  project                 = var.project_id
  name                    = "${var.name}-brokers"
  network                 = var.network_id
  description             = "Brokers replicate and vote among themselves."
  direction               = "INGRESS"
  source_service_accounts = [var.service_account]
  target_service_accounts = [var.service_account]

  allow {
    protocol = "tcp"
    ports    = ["9092", "9093"]
  }
}
