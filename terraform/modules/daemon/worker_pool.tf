# The alternative without a VM. What it lacks:
# - no inbound port: nobody logs on, `tidemill status` cannot be asked there;
# - its disk is memory: state and unfinished files count against the limit and are gone with the instance,
#   so the history of runs is, too (no row and no closing is: they are in the lake);
# - attempts end with the instance, at each deployment and each move by Google; they are then tried again;
# - it has ten seconds: Cloud Run sends SIGTERM, which the shell below turns into the SIGINT that drains, and
#   kills after ten seconds. What was not committed by then is read from Kafka again;
# - two may run at once: Cloud Run may start a new revision before the old one is gone, and no store is shared
#   that could refuse the second. Stop the old one first: docs/how-to/deploy-gcp.md.

resource "google_cloud_run_v2_worker_pool" "daemon" {
  count               = var.deployed ? local.worker_pool : 0
  project             = var.project_id
  name                = "${var.name}-daemon"
  location            = var.region
  labels              = var.labels
  deletion_protection = var.deletion_policy == "PREVENT"
  deletion_policy     = var.deletion_policy

  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = 1
  }

  template {
    service_account = var.service_account
    encryption_key  = var.kms_key

    containers {
      image   = var.image
      command = ["/bin/sh", "-c", "trap 'kill -INT $!' TERM; tidemill \"$@\" & wait $!; code=$?; [ $code -lt 128 ] || { wait $!; code=$?; }; exit $code", "tidemill"]
      args    = ["--env", var.env, "up", "--log-json"]

      resources {
        limits = {
          cpu    = var.worker_cpu
          memory = var.worker_memory
        }
      }

      volume_mounts {
        name       = "state"
        mount_path = "/project/.tidemill"
      }
    }

    volumes {
      name = "state"
      empty_dir {
        medium     = "MEMORY"
        size_limit = var.worker_state
      }
    }

    vpc_access {
      egress = "ALL_TRAFFIC"
      network_interfaces {
        network    = var.network_id
        subnetwork = var.subnet_id
      }
    }
  }
}
