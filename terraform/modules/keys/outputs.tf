output "keys" {
  description = "Key of each service, once its agent may use it; null for a service without one."
  value       = { for service, _ in local.agents : service => try(google_kms_crypto_key_iam_member.uses[service].crypto_key_id, null) }
}
