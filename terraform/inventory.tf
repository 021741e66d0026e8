# What Ansible gets to know; ansible/INVENTORY.md explains each name.
locals {
  etcd_prefix = "etcd"
  api_name    = "api.${local.name}.internal"
  pools       = toset([for node in local.nodes : node.pool])

  inventory = {
    all = {
      vars = {
        eco2_environment            = var.environment
        eco2_layout                 = local.layout
        cluster_name                = local.name
        aws_region                  = var.region
        aws_account_id              = local.account_id
        domain                      = var.domain
        kubernetes_minor            = local.file.kubernetes
        vpc_cidr                    = var.vpc_cidr
        pod_cidr                    = var.pod_cidr
        service_cidr                = var.service_cidr
        cluster_dns_ip              = cidrhost(var.service_cidr, 10)
        control_plane_endpoint      = "${local.api_name}:6443"
        api_server_extra_sans       = [local.api_name, "127.0.0.1", "localhost"]
        service_account_issuer      = "https://${local.issuer_host}"
        oidc_bucket                 = local.buckets.oidc.name
        ops_bucket                  = local.buckets.ops.name
        etcd_backup_prefix          = local.etcd_prefix
        images_bucket               = local.buckets.images.name
        uploads_bucket              = local.buckets.uploads.name
        encryption_key_parameter    = aws_ssm_parameter.generated["etcd-encryption-key"].name
        kubeconfig_path             = ".eco2/infra/${var.environment}/kubeconfig"
        tunnel_port                 = 16443
        ansible_user                = "ubuntu"
        ansible_python_interpreter  = "/usr/bin/python3"
        ansible_aws_ssm_bucket_name = local.buckets.ssm.name
        ansible_aws_ssm_region      = var.region
      }

      children = merge(
        {
          for group, names in {
            masters = [for name, node in local.nodes : name if node.group == "control_plane"]
            workers = [for name, node in local.nodes : name if node.group == "worker"]
          } : group => { hosts = { for name in names : name => {} } }
        },
        {
          for pool in local.pools : "pool_${replace(pool, "-", "_")}" => {
            hosts = { for name, node in local.nodes : name => {} if node.pool == pool }
          }
        },
      )

      hosts = {
        for name, node in local.nodes : name => {
          ansible_host  = aws_instance.node[name].id
          private_ip    = aws_instance.node[name].private_ip
          public_ip     = contains(keys(aws_eip.control_plane), name) ? aws_eip.control_plane[name].public_ip : aws_instance.node[name].public_ip
          zone          = local.zones[node.zone]
          instance_type = node.type
          provider_id   = "aws:///${local.zones[node.zone]}/${aws_instance.node[name].id}"
          node_pool     = node.pool
          node_labels   = node.labels
          node_taints   = node.taints
          topology_labels = {
            "topology.kubernetes.io/region"    = var.region
            "topology.kubernetes.io/zone"      = local.zones[node.zone]
            "node.kubernetes.io/instance-type" = node.type
          }
        }
      }
    }
  }
}
