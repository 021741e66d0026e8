# The one table of who may reach what. Every rule of every security group is made from it.
locals {
  # `from` and `to` are groups; `world` is the Internet. Pods of Calico keep to VXLAN between nodes, and leave a node under its
  # address: what a Pod asks of a node comes from a node.
  flows = merge({
    http       = { from = "world", to = "load_balancer", protocol = "tcp", ports = [80, 80], why = "HTTP, redirected to HTTPS" }
    https      = { from = "world", to = "load_balancer", protocol = "tcp", ports = [443, 443], why = "HTTPS" }
    gateway    = { from = "load_balancer", to = "worker", protocol = "tcp", ports = [30000, 32767], why = "NodePorts of the mesh gateway" }
    api_worker = { from = "worker", to = "control_plane", protocol = "tcp", ports = [6443, 6443], why = "API server" }
    api_self   = { from = "control_plane", to = "control_plane", protocol = "tcp", ports = [6443, 6443], why = "API server" }
    etcd       = { from = "control_plane", to = "control_plane", protocol = "tcp", ports = [2379, 2380], why = "etcd" }
    }, merge([
      # Each of these between all nodes, in both directions.
      for name, row in {
        kubelet = { protocol = "tcp", ports = [10250, 10250], why = "kubelet: API server, metrics-server, Prometheus" }
        metrics = { protocol = "tcp", ports = [9100, 9100], why = "node exporter: Prometheus" }
        typha   = { protocol = "tcp", ports = [5473, 5473], why = "Calico Typha" }
        vxlan   = { protocol = "udp", ports = [4789, 4789], why = "Calico VXLAN" }
        } : {
        for pair in setproduct(["control_plane", "worker"], ["control_plane", "worker"]) :
        "${name}_${pair[0]}_${pair[1]}" => merge(row, { from = pair[0], to = pair[1] })
      }
    ]...),
    {
      for pair in setproduct(var.ssh_cidrs, ["control_plane", "worker"]) :
      "ssh_${replace(pair[0], "/[./]/", "_")}_${pair[1]}" => {
        from = pair[0], to = pair[1], protocol = "tcp", ports = [22, 22], why = "SSH"
      }
  })

  groups = {
    control_plane = "Control plane node"
    worker        = "All other nodes"
    load_balancer = "The load balancer of the Ingress"
  }
}

resource "aws_security_group" "this" {
  for_each = local.groups

  name        = "${local.name}-${replace(each.key, "_", "-")}"
  description = each.value
  vpc_id      = aws_vpc.this.id

  # The Ingress names the group of the load balancer by this tag.
  tags = { Name = "${local.name}-${replace(each.key, "_", "-")}" }
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = contains(keys(local.groups), each.value.from) ? aws_security_group.this[each.value.from].id : null
  cidr_ipv4                    = contains(keys(local.groups), each.value.from) ? null : each.value.from == "world" ? "0.0.0.0/0" : each.value.from
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.ports[0]
  to_port                      = each.value.ports[1]
  description                  = each.value.why
}

# Nodes fetch packages and images and ask providers anywhere; the network policies say which Pods may.
resource "aws_vpc_security_group_egress_rule" "nodes" {
  for_each = toset(["control_plane", "worker"])

  security_group_id = aws_security_group.this[each.key].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
  description       = "Everything out"
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  security_group_id            = aws_security_group.this["load_balancer"].id
  referenced_security_group_id = aws_security_group.this["worker"].id
  ip_protocol                  = "tcp"
  from_port                    = 30000
  to_port                      = 32767
  description                  = "NodePorts of the mesh gateway"
}
