output "tidemill" {
  description = "What tidemill.gcp.toml needs; `terraform output -json | tidemill config import` writes it."
  value = {
    format = 1
    kafka = {
      brokers    = one(concat(module.kafka_vm[*].brokers, module.kafka_managed[*].brokers))
      properties = merge(one(concat(module.kafka_vm[*].properties, module.kafka_managed[*].properties)))
    }
    lake = { url = module.lake.url }
    warehouse = {
      kind     = "bigquery"
      project  = var.project_id
      location = module.warehouse.location
      datasets = module.warehouse.datasets
    }
    store = var.store ? { kind = "postgres", connection = module.store[0].connection_name } : null
  }
}

output "images" {
  description = "Where the image is pushed."
  value       = module.registry.images
}

output "access" {
  description = "Who may do what: member, role, and on which thing."
  value = concat(
    module.identity.grants,
    module.lake.grants,
    module.warehouse.grants,
    module.registry.grants,
    flatten(module.store[*].grants),
    flatten(module.kafka_managed[*].grants),
  )
}

output "broker_zones" {
  description = "Zone of each broker on a VM of ours."
  value       = one(module.kafka_vm[*].zones)
}

output "daemon" {
  description = "Name of the instance group (and of its VM) or of the worker pool; null before the first image."
  value       = module.daemon.name
}

output "daemon_zone" {
  description = "Zone of the daemon's VM; null on Cloud Run."
  value       = module.daemon.zone
}

output "alerts" {
  description = "What someone is told of."
  value       = module.observability.alerts
}
