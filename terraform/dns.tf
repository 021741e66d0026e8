locals {
  own_zone = var.zone_id == ""
  zone_id  = local.own_zone ? aws_route53_zone.public[0].zone_id : var.zone_id
}

resource "aws_route53_zone" "public" {
  count = local.own_zone ? 1 : 0

  name = var.domain
  # Records of ExternalDNS stay when the cluster does not answer any more.
  force_destroy = var.delete_data
}

resource "aws_route53_record" "delegation" {
  count = local.own_zone && var.parent_zone_id != "" ? 1 : 0

  zone_id = var.parent_zone_id
  name    = var.domain
  type    = "NS"
  ttl     = 300
  records = aws_route53_zone.public[0].name_servers
}

# Resolves once the domain is delegated to this zone; until then no certificate is issued. bootstrap_cluster.sh waits for it.
resource "aws_route53_record" "probe" {
  zone_id = local.zone_id
  name    = "delegated.${var.domain}"
  type    = "A"
  ttl     = 60
  records = ["192.0.2.1"]
}

# The load balancer finds this certificate by the hosts of the Ingress.
resource "aws_acm_certificate" "api" {
  domain_name               = var.domain
  subject_alternative_names = ["*.${var.domain}"]
  validation_method         = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# CloudFront takes certificates of this region only.
resource "aws_acm_certificate" "images" {
  count = var.enable_cloudfront ? 1 : 0

  region            = "us-east-1"
  domain_name       = local.images_host
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# By name and not by what ACM returns: the names are known when Terraform plans. The wildcard shares the record of its domain.
resource "aws_route53_record" "validation" {
  for_each = merge(
    { (var.domain) = one([for row in aws_acm_certificate.api.domain_validation_options : row if !startswith(row.domain_name, "*.")]) },
    var.enable_cloudfront ? { (local.images_host) = one(aws_acm_certificate.images[0].domain_validation_options) } : {},
  )

  zone_id         = local.zone_id
  name            = each.value.resource_record_name
  type            = each.value.resource_record_type
  ttl             = 300
  records         = [each.value.resource_record_value]
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "api" {
  certificate_arn         = aws_acm_certificate.api.arn
  validation_record_fqdns = [aws_route53_record.validation[var.domain].fqdn]
}

resource "aws_acm_certificate_validation" "images" {
  count = var.enable_cloudfront ? 1 : 0

  region                  = "us-east-1"
  certificate_arn         = aws_acm_certificate.images[0].arn
  validation_record_fqdns = [aws_route53_record.validation[local.images_host].fqdn]
}

# The hosts of the Ingress are ExternalDNS' business.
resource "aws_route53_record" "images" {
  for_each = toset(var.enable_cloudfront ? ["A", "AAAA"] : [])

  zone_id = local.zone_id
  name    = local.images_host
  type    = each.key

  alias {
    name                   = aws_cloudfront_distribution.photos[0].domain_name
    zone_id                = aws_cloudfront_distribution.photos[0].hosted_zone_id
    evaluate_target_health = false
  }
}

# The name of the API server inside: it goes with the node that runs it, so the others need not know which that is.
resource "aws_route53_zone" "internal" {
  name = "${local.name}.internal"

  vpc {
    vpc_id = aws_vpc.this.id
  }
}

resource "aws_route53_record" "api_server" {
  zone_id = aws_route53_zone.internal.zone_id
  name    = "api.${local.name}.internal"
  type    = "A"
  ttl     = 30
  records = [for name, node in local.nodes : aws_instance.node[name].private_ip if node.group == "control_plane"]
}
