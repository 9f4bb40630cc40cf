provider "google" {
  project = "acme-wiki"
  region  = "europe-west1"
}

module "keys" {
  source = "../.."

  project_id = "acme-wiki"
  uses = {
    compute = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
    storage = "projects/p/locations/europe/keyRings/r/cryptoKeys/l"
  }
}
