# Secrets without their values: those are never in the state. `eco2 infra secrets` fills in what is generated and says what is
# still to be entered (workloads/secrets/README.md lists all).
locals {
  secrets = toset([
    "backups", "broker", "dockerhub", "grafana", "kakao-local", "news-sources", "object-store", "paid-model", "platform",
    "postgres", "push", "redis-cache", "redis-streams", "sign-in-providers", "signing-keys", "slack", "weather",
  ])

  # Parameters of nodes: they are there before the cluster is, so External Secrets cannot bring them.
  parameters = {
    etcd-encryption-key = "32 random bytes, base64: encrypts Secrets in etcd. A snapshot cannot be restored without it"
  }
}

resource "aws_secretsmanager_secret" "this" {
  for_each = local.secrets

  name                    = "eco2/${var.environment}/${each.key}"
  recovery_window_in_days = var.delete_data ? 0 : 30
}

resource "aws_ssm_parameter" "generated" {
  for_each = local.parameters

  name             = "/eco2/${var.environment}/${each.key}"
  description      = each.value
  type             = "SecureString"
  value_wo         = "unset"
  value_wo_version = 1
}
