mock_provider "google" {
  override_data {
    target = data.google_project.this
    values = { number = "42" }
  }
}

variables {
  project_id = "p-1"
  uses = {
    compute = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
    storage = "projects/p/locations/europe/keyRings/r/cryptoKeys/l"
  }
}

run "the_agent_of_each_service_may_use_its_key" {
  command = apply
  assert {
    condition     = google_kms_crypto_key_iam_member.uses["compute"].member == "serviceAccount:service-42@compute-system.iam.gserviceaccount.com" && google_kms_crypto_key_iam_member.uses["compute"].crypto_key_id == var.uses.compute
    error_message = "Compute Engine's own agent, on the key of the region."
  }
  assert {
    condition     = google_kms_crypto_key_iam_member.uses["storage"].crypto_key_id == var.uses.storage && length(google_kms_crypto_key_iam_member.uses) == 2
    error_message = "Cloud Storage's on the lake's, and nobody else's on any."
  }
}

run "agents_encrypt_and_administer_nothing" {
  command = plan
  assert {
    condition     = alltrue([for it in google_kms_crypto_key_iam_member.uses : it.role == "roles/cloudkms.cryptoKeyEncrypterDecrypter"])
    error_message = "They encrypt and decrypt."
  }
}

run "a_service_without_a_key_has_none" {
  command = plan
  assert {
    condition     = output.keys.sqladmin == null && output.keys.compute == var.uses.compute
    error_message = "null, so that Google's own key is used."
  }
}

run "an_unknown_service_is_refused" {
  command = plan
  variables {
    uses = { pubsub = "projects/p/locations/eu/keyRings/r/cryptoKeys/k" }
  }
  expect_failures = [var.uses]
}

run "what_is_no_key_is_refused" {
  command = plan
  variables {
    uses = { compute = "my-key" }
  }
  expect_failures = [var.uses]
}
