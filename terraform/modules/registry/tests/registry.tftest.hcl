mock_provider "google" {}

variables {
  project_id      = "p-1"
  region          = "europe-west1"
  name            = "t"
  daemon          = "serviceAccount:daemon@p-1.iam.gserviceaccount.com"
  broker          = "serviceAccount:kafka@p-1.iam.gserviceaccount.com"
  mirror          = true
  deletion_policy = "PREVENT"
}

run "a_tag_is_written_once" {
  command = plan
  assert {
    condition     = google_artifact_registry_repository.images.docker_config[0].immutable_tags
    error_message = "What ran yesterday can be run again."
  }
}

run "machines_pull_and_do_not_push" {
  command = plan
  assert {
    condition     = toset([for it in output.grants : "${it.member} ${it.role}"]) == toset(["${var.daemon} roles/artifactregistry.reader", "${var.broker} roles/artifactregistry.reader"])
    error_message = "Readers."
  }
}

run "brokers_cannot_read_our_images" {
  command = apply
  assert {
    condition     = google_artifact_registry_repository_iam_member.pulls_mirror[0].repository == google_artifact_registry_repository.mirror[0].name && google_artifact_registry_repository_iam_member.pulls[0].member == var.daemon
    error_message = "They pull Kafka, which is in the mirror."
  }
}

run "a_daemon_on_cloud_run_pulls_nothing_itself" {
  command = plan
  variables {
    daemon = null
  }
  assert {
    condition     = [for it in output.grants : it.member] == [var.broker]
    error_message = "Cloud Run's own account pulls."
  }
}

run "the_public_cannot_push" {
  command = plan
  variables {
    publishers = ["allUsers"]
  }
  expect_failures = [var.publishers]
}

run "the_newest_images_are_kept_whatever_their_age" {
  command = plan
  assert {
    condition     = contains([for it in google_artifact_registry_repository.images.cleanup_policies : it.action], "KEEP")
    error_message = "There is always something to go back to."
  }
}

run "docker_hub_may_be_asked_with_an_account" {
  command = plan
  variables {
    mirror     = true
    broker     = "serviceAccount:kafka@p-1.iam.gserviceaccount.com"
    docker_hub = { username = "acme", password_secret_version = "projects/p-1/secrets/hub/versions/1" }
  }
  assert {
    condition     = google_artifact_registry_repository.mirror[0].remote_repository_config[0].upstream_credentials[0].username_password_credentials[0].username == "acme"
    error_message = "The registry logs in."
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.reads_password[0].secret_id == "projects/p-1/secrets/hub" && google_secret_manager_secret_iam_member.reads_password[0].role == "roles/secretmanager.secretAccessor"
    error_message = "Its agent may read the token, and no other secret."
  }
}

run "a_token_in_the_clear_is_refused" {
  command = plan
  variables {
    docker_hub = { username = "acme", password_secret_version = "dckr_pat_123" }
  }
  expect_failures = [var.docker_hub]
}
