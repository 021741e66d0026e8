# Ubuntu 24.04 brings the agent of Session Manager.
data "aws_ssm_parameter" "image" {
  name = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
}

resource "aws_instance" "node" {
  for_each = local.nodes

  ami           = data.aws_ssm_parameter.image.value
  instance_type = each.value.type
  key_name      = length(var.ssh_cidrs) > 0 ? var.ssh_key_name : null

  subnet_id                   = (var.private_nodes ? aws_subnet.private : aws_subnet.public)[each.value.zone].id
  associate_public_ip_address = !var.private_nodes
  vpc_security_group_ids      = [aws_security_group.this[each.value.group].id]
  iam_instance_profile        = aws_iam_instance_profile.node[each.value.group].name
  disable_api_termination     = var.termination_protection && !each.value.spot

  dynamic "instance_market_options" {
    for_each = each.value.spot ? [1] : []

    content {
      market_type = "spot"

      # A persistent request would start the node again after it was destroyed.
      spot_options {
        spot_instance_type             = "one-time"
        instance_interruption_behavior = "terminate"
      }
    }
  }

  # One hop: nodes themselves ask for credentials, Pods have roles of their own.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = each.value.disk
    encrypted             = true
    delete_on_termination = true
    tags                  = merge(local.tags, { Name = "${local.name}-${each.key}" })
  }

  tags = {
    Name                                  = "${local.name}-${each.key}"
    Node                                  = each.key
    Pool                                  = each.value.pool
    "kubernetes.io/cluster/${local.name}" = "owned"
  }

  lifecycle {
    # A newer image replaces no node: nodes are replaced one at a time (docs/guides/operator.md).
    ignore_changes = [ami]
  }

  depends_on = [aws_route.internet, aws_route.nat, aws_iam_role_policy_attachment.session_manager]
}

# The control plane keeps its address to the outside when its node is replaced.
resource "aws_eip" "control_plane" {
  for_each = { for name, node in local.nodes : name => node if node.group == "control_plane" && !var.private_nodes }

  domain   = "vpc"
  instance = aws_instance.node[each.key].id
  tags     = { Name = "${local.name}-${each.key}" }
}
