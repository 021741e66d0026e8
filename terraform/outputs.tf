output "cluster_name" {
  value = local.name

  precondition {
    condition     = terraform.workspace == var.environment
    error_message = "The workspace ${terraform.workspace} is not ${var.environment}: terraform workspace select ${var.environment}"
  }
}

output "account_id" {
  description = "For workloads/rbac-storage/ENVIRONMENT: the account in the names of the roles."
  value       = local.account_id
}

output "name_servers" {
  description = "For the registrar or the parent zone of the domain; empty where the zone was there before."
  value       = local.own_zone ? aws_route53_zone.public[0].name_servers : []
}

output "delegation_probe" {
  description = "Resolves to 192.0.2.1 once the domain is delegated."
  value       = aws_route53_record.probe.name
}

output "storage" {
  description = "Values of workloads/domains/components/environments; the test of the plan compares them."
  value = {
    ECO2_STORAGE_ENDPOINT        = "https://${local.s3_host}"
    ECO2_STORAGE_SIGNED_ENDPOINT = "https://${local.s3_host}"
    ECO2_STORAGE_PUBLIC_ENDPOINT = local.public_endpoint
    ECO2_CDN_BASE_URL            = "${local.public_endpoint}/${local.buckets.images.name}"
    ECO2_STORAGE_BUCKET          = local.buckets.images.name
    ECO2_UPLOAD_BUCKET           = local.buckets.uploads.name
    ECO2_OPS_BUCKET              = local.buckets.ops.name
  }
}

output "control_plane_instance" {
  description = "Target of the tunnel to the API server."
  value       = one([for name, node in local.nodes : aws_instance.node[name].id if node.group == "control_plane"])
}

output "ansible_inventory" {
  description = "Inventory of the cluster (ansible/INVENTORY.md)."
  value       = yamlencode(local.inventory)
}
