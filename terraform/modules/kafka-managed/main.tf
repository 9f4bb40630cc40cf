# Google's managed Kafka. It speaks TLS only and wants a login; docs/how-to/deploy-gcp.md says what Tidemill can
# do of that.

resource "google_managed_kafka_cluster" "kafka" {
  project         = var.project_id
  cluster_id      = var.name
  location        = var.region
  labels          = var.labels
  deletion_policy = var.deletion_policy

  capacity_config {
    vcpu_count   = var.vcpus
    memory_bytes = var.vcpus * var.memory_gib_per_vcpu * 1024 * 1024 * 1024
  }

  gcp_config {
    kms_key = var.kms_key
    access_config {
      network_configs {
        subnet = var.subnet_id
      }
    }
  }

  rebalance_config {
    mode = "AUTO_REBALANCE_ON_SCALE_UP"
  }

  dynamic "tls_config" {
    for_each = var.ca_pool == null ? [] : [var.ca_pool]
    content {
      ssl_principal_mapping_rules = "RULE:^CN=([^,]+).*$/$1/,DEFAULT"
      trust_config {
        cas_configs {
          ca_pool = tls_config.value
        }
      }
    }
  }
}

resource "google_project_iam_member" "client" {
  project = var.project_id
  role    = "roles/managedkafka.client"
  member  = var.client
}
