locals {
  # days: how long objects are kept; old_days: how long replaced and deleted versions are, 0 for no versions.
  buckets = {
    # Uploads as users sent them: only the platform reads them, and only for a day.
    uploads = { name = "${var.bucket_prefix}-uploads", days = 1, old_days = 0 }
    # Checked photos. No versions: deleted means deleted.
    images = { name = "${var.bucket_prefix}-images", days = 0, old_days = 0 }
    # Backups, reports, files to import, archives of PostgreSQL, snapshots of etcd. What writes there removes what is old.
    ops = { name = "${var.bucket_prefix}-ops", days = 0, old_days = 30 }
    # Files on their way to a node, while Ansible copies them through Session Manager.
    ssm = { name = "${local.name}-ssm-${local.account_id}", days = 1, old_days = 0 }
    # Keys and description of the issuer of service account tokens, for IAM; public, and written by Ansible.
    oidc = { name = "${local.name}-oidc-${local.account_id}", days = 0, old_days = 30 }
  }

  # Everyone may read these objects of the buckets named here, and no others.
  public_objects = merge(
    { oidc = ["/.well-known/openid-configuration", "/openid/v1/jwks"] },
    var.enable_cloudfront ? {} : { images = ["/*"] },
  )
}

resource "aws_s3_bucket" "this" {
  for_each = local.buckets

  bucket        = each.value.name
  force_destroy = var.delete_data || each.key == "ssm"
  tags          = { Name = each.value.name }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = !contains(keys(local.public_objects), each.key)
  restrict_public_buckets = !contains(keys(local.public_objects), each.key)
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = { for name, bucket in local.buckets : name => bucket if bucket.old_days > 0 }

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "unfinished"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  dynamic "rule" {
    for_each = each.value.days > 0 ? [each.value.days] : []

    content {
      id     = "old"
      status = "Enabled"

      filter {}

      expiration {
        days = rule.value
      }
    }
  }

  dynamic "rule" {
    for_each = each.value.old_days > 0 ? [each.value.old_days] : []

    content {
      id     = "replaced"
      status = "Enabled"

      filter {}

      expiration {
        expired_object_delete_marker = true
      }

      noncurrent_version_expiration {
        noncurrent_days = rule.value
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "OnlyEncryptedConnections"
        Effect    = "Deny"
        Action    = "s3:*"
        Principal = "*"
        Resource  = [local.arns[each.key], "${local.arns[each.key]}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      contains(keys(local.public_objects), each.key) ? [{
        Sid       = "EveryoneReads"
        Effect    = "Allow"
        Action    = "s3:GetObject"
        Principal = "*"
        Resource  = [for key in local.public_objects[each.key] : "${local.arns[each.key]}${key}"]
      }] : [],
      # With the right to list, S3 says 404 and not 403 of a photo that is gone; the CDN passes no path that lists.
      each.key == "images" && var.enable_cloudfront ? [{
        Sid       = "TheCdnReads"
        Effect    = "Allow"
        Action    = ["s3:GetObject", "s3:ListBucket"]
        Principal = { Service = "cloudfront.amazonaws.com" }
        Resource  = [local.arns.images, "${local.arns.images}/*"]
        Condition = { StringEquals = { "AWS:SourceArn" = aws_cloudfront_distribution.photos[0].arn } }
      }] : [],
    )
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}

# The page uploads from the browser, and draws photos on a canvas.
resource "aws_s3_bucket_cors_configuration" "photos" {
  for_each = { uploads = ["PUT"], images = ["GET", "HEAD"] }

  bucket = aws_s3_bucket.this[each.key].id

  cors_rule {
    allowed_origins = var.web_origins
    allowed_methods = each.value
    allowed_headers = ["*"]
    expose_headers  = ["ETag"]
    max_age_seconds = 3600
  }
}
