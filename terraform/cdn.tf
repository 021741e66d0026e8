# One host for photos and uploads: images.DOMAIN/BUCKET/KEY, as the URLs of the platform have it.
#
# A URL for an upload carries a signature that S3 checks against the host it is asked under. The platform signs for S3's own host
# (ECO2_STORAGE_SIGNED_ENDPOINT) and hands out the CDN's name; the CDN asks S3 under S3's host, so the host signed is the host used.
locals {
  images_host     = "images.${var.domain}"
  s3_host         = "s3.${var.region}.amazonaws.com"
  public_endpoint = var.enable_cloudfront ? "https://${local.images_host}" : "https://${local.s3_host}"
}

# Managed policies of CloudFront, by the ids in its documentation.
data "aws_cloudfront_cache_policy" "disabled" {
  name = "Managed-CachingDisabled"
}

data "aws_cloudfront_origin_request_policy" "all_but_host" {
  name = "Managed-AllViewerExceptHostHeader"
}

resource "aws_cloudfront_cache_policy" "photos" {
  count = var.enable_cloudfront ? 1 : 0

  name    = "${local.name}-photos"
  comment = "A deleted photo is forgotten within the hour"

  min_ttl     = 0
  default_ttl = 3600
  max_ttl     = 3600

  # No query, cookie or header of a client reaches the bucket.
  parameters_in_cache_key_and_forwarded_to_origin {
    cookies_config {
      cookie_behavior = "none"
    }
    headers_config {
      header_behavior = "none"
    }
    query_strings_config {
      query_string_behavior = "none"
    }
  }
}

resource "aws_cloudfront_response_headers_policy" "photos" {
  count = var.enable_cloudfront ? 1 : 0

  name = "${local.name}-photos"

  security_headers_config {
    content_type_options {
      override = true
    }
    content_security_policy {
      content_security_policy = "default-src 'none'; sandbox"
      override                = true
    }
    strict_transport_security {
      access_control_max_age_sec = 31536000
      override                   = true
    }
  }

  cors_config {
    access_control_allow_credentials = false
    origin_override                  = true

    access_control_allow_headers {
      items = ["*"]
    }
    access_control_allow_methods {
      items = ["GET", "HEAD", "OPTIONS", "PUT"]
    }
    access_control_allow_origins {
      items = var.web_origins
    }
  }
}

resource "aws_cloudfront_origin_access_control" "images" {
  count = var.enable_cloudfront ? 1 : 0

  name                              = "${local.name}-images"
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

# The bucket is part of the path, as without a CDN. A path without a key would list the bucket.
resource "aws_cloudfront_function" "photo_key" {
  count = var.enable_cloudfront ? 1 : 0

  name    = "${local.name}-photo-key"
  runtime = "cloudfront-js-2.0"
  publish = true
  code    = file("${path.module}/photo-key.js")
}

resource "aws_cloudfront_distribution" "photos" {
  count = var.enable_cloudfront ? 1 : 0

  enabled         = true
  comment         = "${local.name}: photos and uploads"
  aliases         = [local.images_host]
  is_ipv6_enabled = true
  http_version    = "http2and3"
  # Asia is in this class; the cheapest one has no places in Korea.
  price_class = "PriceClass_200"

  origin {
    origin_id                = "images"
    domain_name              = aws_s3_bucket.this["images"].bucket_regional_domain_name
    origin_access_control_id = aws_cloudfront_origin_access_control.images[0].id
  }

  origin {
    origin_id   = "uploads"
    domain_name = local.s3_host

    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]
    }
  }

  # Uploads: to S3 as they come, host aside. The signature in the query decides.
  ordered_cache_behavior {
    path_pattern             = "/${local.buckets.uploads.name}/*"
    target_origin_id         = "uploads"
    viewer_protocol_policy   = "https-only"
    allowed_methods          = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    cached_methods           = ["GET", "HEAD"]
    cache_policy_id          = data.aws_cloudfront_cache_policy.disabled.id
    origin_request_policy_id = data.aws_cloudfront_origin_request_policy.all_but_host.id
  }

  default_cache_behavior {
    target_origin_id           = "images"
    viewer_protocol_policy     = "redirect-to-https"
    allowed_methods            = ["GET", "HEAD", "OPTIONS"]
    cached_methods             = ["GET", "HEAD"]
    compress                   = false
    cache_policy_id            = aws_cloudfront_cache_policy.photos[0].id
    response_headers_policy_id = aws_cloudfront_response_headers_policy.photos[0].id

    function_association {
      event_type   = "viewer-request"
      function_arn = aws_cloudfront_function.photo_key[0].arn
    }
  }

  # A photo that is not there yet is asked for again soon.
  custom_error_response {
    error_code            = 404
    error_caching_min_ttl = 5
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    acm_certificate_arn      = aws_acm_certificate.images[0].arn
    ssl_support_method       = "sni-only"
    minimum_protocol_version = "TLSv1.2_2021"
  }

  tags = { Name = "${local.name}-photos" }

  depends_on = [aws_acm_certificate_validation.images]
}
