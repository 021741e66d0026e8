# Nodes, labels and taints come from the file that the manifests are checked against.
locals {
  file        = yamldecode(file("${path.module}/../clusters/layouts.yaml"))
  environment = local.file.environments[var.environment]
  layout      = var.layout != "" ? var.layout : local.environment.layout
  # The sizes of an environment belong to its own layout.
  types = local.layout == local.environment.layout ? lookup(local.environment, "types", {}) : {}

  # A row with a count becomes NAME-1, NAME-2, …
  rows = flatten([
    for row in local.file.layouts[local.layout] : [
      for number in range(lookup(row, "count", 1)) : {
        name = contains(keys(row), "count") ? "${row.name}-${number + 1}" : row.name
        pool = row.pool
        type = lookup(local.types, row.pool, row.type)
        disk = row.disk
      }
    ]
  ])

  # The nodes of a pool go round the zones, so that another node at the end of a pool moves none of the others.
  nodes = {
    for row in local.rows : row.name => merge(row, {
      labels = local.file.pools[row.pool].labels
      taints = lookup(local.file.pools[row.pool], "taints", [])
      spot   = lookup(local.file.pools[row.pool], "spot", false)
      group  = row.pool == "control-plane" ? "control_plane" : "worker"
      zone   = index([for other in local.rows : other.name if other.pool == row.pool], row.name) % local.zone_count
    })
  }

  name       = "eco2-${var.environment}"
  account_id = data.aws_caller_identity.current.account_id

  tags = {
    Project     = "eco2"
    Environment = var.environment
    Cluster     = local.name
    ManagedBy   = "terraform"
  }
}

data "aws_caller_identity" "current" {}
