# Where images come from. A tag is written once: what ran yesterday can be run again. The second
# repository fetches public images (Kafka's) once and keeps them, so that brokers need no Internet.

resource "google_artifact_registry_repository" "images" {
  project         = var.project_id
  location        = var.region
  repository_id   = var.name
  description     = "Tidemill with the project's files"
  format          = "DOCKER"
  labels          = var.labels
  kms_key_name    = var.kms_key
  deletion_policy = var.deletion_policy

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = 20
    }
  }

  cleanup_policies {
    id     = "forget-old"
    action = "DELETE"
    condition {
      older_than = "${var.keep_days * 86400}s"
    }
  }
}

resource "google_artifact_registry_repository" "mirror" {
  count           = var.mirror ? 1 : 0
  project         = var.project_id
  location        = var.region
  repository_id   = "${var.name}-mirror"
  description     = "Public images, fetched once"
  format          = "DOCKER"
  mode            = "REMOTE_REPOSITORY"
  labels          = var.labels
  kms_key_name    = var.kms_key
  deletion_policy = "DELETE" # It can be fetched again.

  remote_repository_config {
    docker_repository {
      public_repository = "DOCKER_HUB"
    }

    # Without an account Docker Hub counts what all of Google's customers fetch together.
    dynamic "upstream_credentials" {
      for_each = var.docker_hub == null ? [] : [var.docker_hub]
      content {
        username_password_credentials {
          username                = upstream_credentials.value.username
          password_secret_version = upstream_credentials.value.password_secret_version
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reads_password]
}

data "google_project" "this" {
  count      = local.logs_in ? 1 : 0
  project_id = var.project_id
}

locals {
  logs_in = var.mirror && var.docker_hub != null
}

resource "google_secret_manager_secret_iam_member" "reads_password" {
  count     = local.logs_in ? 1 : 0
  secret_id = regex("^(.+)/versions/", var.docker_hub.password_secret_version)[0]
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:service-${data.google_project.this[0].number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
}

resource "google_artifact_registry_repository_iam_member" "pulls" {
  count      = var.daemon == null ? 0 : 1
  project    = var.project_id
  location   = var.region
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = var.daemon
}

resource "google_artifact_registry_repository_iam_member" "pulls_mirror" {
  count      = var.mirror ? 1 : 0
  project    = var.project_id
  location   = var.region
  repository = google_artifact_registry_repository.mirror[0].name
  role       = "roles/artifactregistry.reader"
  member     = var.broker
}

resource "google_artifact_registry_repository_iam_member" "publishes" {
  for_each   = var.publishers
  project    = var.project_id
  location   = var.region
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = each.value
}
