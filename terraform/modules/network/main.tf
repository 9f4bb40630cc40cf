# One VPC, nothing of it public. The daemon and the brokers have a subnet each, so that a firewall rule
# can tell them apart whatever the daemon runs on: Cloud Run has an address of its subnet and no tag
# that a rule could take as its source.

resource "google_compute_network" "vpc" {
  project                 = var.project_id
  name                    = var.name
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
}

resource "google_compute_subnetwork" "part" {
  for_each                 = { daemon = var.daemon_cidr, kafka = var.kafka_cidr }
  project                  = var.project_id
  name                     = "${var.name}-${each.key}"
  region                   = var.region
  network                  = google_compute_network.vpc.id
  ip_cidr_range            = each.value
  stack_type               = "IPV4_ONLY"
  private_ip_google_access = true # Storage, BigQuery and the registry, without a way to the Internet.

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

# A feed reads from the world; brokers never do. Only connections from inside are translated.
resource "google_compute_router" "out" {
  count   = var.internet_egress ? 1 : 0
  project = var.project_id
  name    = "${var.name}-out"
  region  = var.region
  network = google_compute_network.vpc.id
}

resource "google_compute_router_nat" "out" {
  count                              = var.internet_egress ? 1 : 0
  project                            = var.project_id
  name                               = "${var.name}-out"
  region                             = var.region
  router                             = google_compute_router.out[0].name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.part["daemon"].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# VPCs deny what no rule allows; this one also says so in the firewall's log.
resource "google_compute_firewall" "deny" {
  project       = var.project_id
  name          = "${var.name}-deny"
  network       = google_compute_network.vpc.id
  description   = "Denies incoming traffic that no other rule allows."
  direction     = "INGRESS"
  priority      = 65000
  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "iap_ssh" {
  project                 = var.project_id
  name                    = "${var.name}-iap-ssh"
  network                 = google_compute_network.vpc.id
  description             = "SSH through Google's identity-aware proxy, which asks who it is; never from the Internet."
  direction               = "INGRESS"
  source_ranges           = ["35.235.240.0/20"]
  target_service_accounts = var.ssh_accounts

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}
