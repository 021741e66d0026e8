# ---------------------------------------------------------------------------------------------------------------------
# Nodes
# ---------------------------------------------------------------------------------------------------------------------
resource "aws_iam_role" "node" {
  for_each = toset(["control_plane", "worker"])

  name = "${local.name}-node-${replace(each.key, "_", "-")}"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

resource "aws_iam_instance_profile" "node" {
  for_each = aws_iam_role.node

  name = each.value.name
  role = each.value.name
}

# All that a worker may: be reached through Session Manager. Pods have roles of their own.
resource "aws_iam_role_policy_attachment" "session_manager" {
  for_each = aws_iam_role.node

  role       = each.value.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

# That policy reads every parameter of the account, keys of etcd among them: a node gets at none but its own.
resource "aws_iam_role_policy" "parameters" {
  for_each = {
    worker        = { Resource = ["arn:aws:ssm:*:${local.account_id}:parameter/eco2/*"] }
    control_plane = { NotResource = [local.etcd_key_arn] }
  }

  name = "parameters"
  role = aws_iam_role.node[each.key].name
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [merge({ Sid = "ParametersOfOthers", Effect = "Deny", Action = ["ssm:GetParameter*"] }, each.value)]
  })
}

resource "aws_iam_role_policy" "control_plane" {
  name = "control-plane"
  role = aws_iam_role.node["control_plane"].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "SnapshotsOfEtcd"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = ["${local.arns.ops}/${local.etcd_prefix}/*"]
      },
      {
        Sid       = "ListSnapshots"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.arns.ops]
        Condition = { StringLike = { "s3:prefix" = ["${local.etcd_prefix}/*"] } }
      },
      {
        Sid      = "KeysOfTheIssuer"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = [for key in local.public_objects.oidc : "${local.arns.oidc}${key}"]
      },
      {
        Sid      = "KeyOfSecretsInEtcd"
        Effect   = "Allow"
        Action   = ["ssm:GetParameter"]
        Resource = [local.etcd_key_arn]
      },
    ]
  })
}

# ---------------------------------------------------------------------------------------------------------------------
# Pods: IAM trusts the tokens that this cluster's API server signs, each role those of one service account.
# ---------------------------------------------------------------------------------------------------------------------
locals {
  etcd_key_arn = "arn:aws:ssm:${var.region}:${local.account_id}:parameter/eco2/${var.environment}/etcd-encryption-key"

  arns        = { for name, bucket in local.buckets : name => "arn:aws:s3:::${bucket.name}" }
  issuer_host = "${local.buckets.oidc.name}.s3.${var.region}.amazonaws.com"

  # Service accounts of workloads/rbac-storage, by name.
  pod_roles = merge({
    aws-load-balancer-controller = { namespace = "platform-system", statements = local.may_balance }
    external-dns                 = { namespace = "platform-system", statements = local.may_name }
    external-secrets             = { namespace = "platform-system", statements = local.may_read_secrets }
    ebs-csi-controller           = { namespace = "kube-system", statements = local.may_store }
    postgres-pod                 = { namespace = "postgres", statements = local.may_archive }
  }, var.atlantis ? { atlantis = { namespace = "atlantis", statements = local.may_keep_state } } : {})

  # Load balancers, target groups and rules of this cluster. Security groups are Terraform's: none may be made or changed.
  balancers = "arn:aws:elasticloadbalancing:${var.region}:${local.account_id}:*"
  may_balance = [
    {
      Sid    = "Look"
      Effect = "Allow"
      Action = [
        "acm:DescribeCertificate", "acm:ListCertificates",
        "ec2:DescribeAvailabilityZones", "ec2:DescribeInstances", "ec2:DescribeInternetGateways",
        "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
        "ec2:DescribeTags", "ec2:DescribeVpcs",
        "elasticloadbalancing:DescribeListenerAttributes", "elasticloadbalancing:DescribeListenerCertificates",
        "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeLoadBalancerAttributes",
        "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeSSLPolicies", "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:DescribeTargetGroupAttributes", "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
      ]
      Resource = ["*"]
    },
    {
      Sid    = "Make"
      Effect = "Allow"
      Action = [
        "elasticloadbalancing:CreateListener", "elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateRule",
        "elasticloadbalancing:CreateTargetGroup",
      ]
      Resource  = [local.balancers]
      Condition = { StringEquals = { "aws:RequestTag/elbv2.k8s.aws/cluster" = [local.name] } }
    },
    {
      Sid       = "TagWhatIsMade"
      Effect    = "Allow"
      Action    = ["elasticloadbalancing:AddTags"]
      Resource  = [local.balancers]
      Condition = { StringEquals = { "elasticloadbalancing:CreateAction" = ["CreateListener", "CreateLoadBalancer", "CreateRule", "CreateTargetGroup"] } }
    },
    {
      Sid    = "ChangeOwn"
      Effect = "Allow"
      Action = [
        "elasticloadbalancing:AddListenerCertificates", "elasticloadbalancing:AddTags", "elasticloadbalancing:DeleteListener",
        "elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteRule", "elasticloadbalancing:DeleteTargetGroup",
        "elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:ModifyListener",
        "elasticloadbalancing:ModifyListenerAttributes", "elasticloadbalancing:ModifyLoadBalancerAttributes",
        "elasticloadbalancing:ModifyRule", "elasticloadbalancing:ModifyTargetGroup",
        "elasticloadbalancing:ModifyTargetGroupAttributes", "elasticloadbalancing:RegisterTargets",
        "elasticloadbalancing:RemoveListenerCertificates", "elasticloadbalancing:RemoveTags",
        "elasticloadbalancing:SetIpAddressType", "elasticloadbalancing:SetRulePriorities",
        "elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets",
      ]
      Resource  = [local.balancers]
      Condition = { StringEquals = { "aws:ResourceTag/elbv2.k8s.aws/cluster" = [local.name] } }
    },
  ]

  may_name = [
    {
      Sid      = "Records"
      Effect   = "Allow"
      Action   = ["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets", "route53:ListTagsForResources"]
      Resource = ["arn:aws:route53:::hostedzone/${local.zone_id}"]
    },
    { Sid = "FindZone", Effect = "Allow", Action = ["route53:ListHostedZones"], Resource = ["*"] },
  ]

  may_read_secrets = [
    {
      Sid      = "Read"
      Effect   = "Allow"
      Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
      Resource = ["arn:aws:secretsmanager:${var.region}:${local.account_id}:secret:eco2/${var.environment}/*"]
    },
  ]

  # Volumes carry the tag of the cluster that made them (k8sTagClusterId of the driver), and so do its instances.
  volumes = "arn:aws:ec2:${var.region}:${local.account_id}:volume/*"
  may_store = [
    {
      Sid    = "Look"
      Effect = "Allow"
      Action = [
        "ec2:DescribeAvailabilityZones", "ec2:DescribeInstances", "ec2:DescribeSnapshots", "ec2:DescribeTags",
        "ec2:DescribeVolumes", "ec2:DescribeVolumesModifications", "ec2:DescribeVolumeStatus",
      ]
      Resource = ["*"]
    },
    {
      Sid       = "Make"
      Effect    = "Allow"
      Action    = ["ec2:CreateVolume"]
      Resource  = [local.volumes]
      Condition = { StringEquals = { "aws:RequestTag/kubernetes.io/cluster/${local.name}" = ["owned"] } }
    },
    {
      Sid       = "TagWhatIsMade"
      Effect    = "Allow"
      Action    = ["ec2:CreateTags"]
      Resource  = [local.volumes]
      Condition = { StringEquals = { "ec2:CreateAction" = ["CreateVolume"] } }
    },
    {
      Sid       = "ChangeOwn"
      Effect    = "Allow"
      Action    = ["ec2:AttachVolume", "ec2:DetachVolume", "ec2:DeleteVolume", "ec2:ModifyVolume"]
      Resource  = [local.volumes, "arn:aws:ec2:${var.region}:${local.account_id}:instance/*"]
      Condition = { StringEquals = { "aws:ResourceTag/kubernetes.io/cluster/${local.name}" = ["owned"] } }
    },
  ]

  # WAL-G, below the prefix that the image of the operator uses.
  may_archive = [
    {
      Sid      = "Archive"
      Effect   = "Allow"
      Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
      Resource = ["${local.arns.ops}/spilo/*"]
    },
    { Sid = "FindBucket", Effect = "Allow", Action = ["s3:GetBucketLocation"], Resource = [local.arns.ops] },
    {
      Sid       = "List"
      Effect    = "Allow"
      Action    = ["s3:ListBucket"]
      Resource  = [local.arns.ops]
      Condition = { StringLike = { "s3:prefix" = ["spilo/*"] } }
    },
  ]

  # The state of this environment's workspace and its lock; its further rights are in atlantis_policy_arns. `init` looks
  # for the state of the default workspace, and has to be told that there is none.
  state_arn = "arn:aws:s3:::eco2-terraform-state-${local.account_id}"
  may_keep_state = [
    { Sid = "State", Effect = "Allow", Action = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], Resource = ["${local.state_arn}/env:/${var.environment}/*"] },
    { Sid = "DefaultWorkspace", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${local.state_arn}/eco2.tfstate"] },
    { Sid = "List", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.state_arn] },
  ]
}

# The issuer is a bucket of S3, whose certificate IAM knows: no thumbprint is needed.
resource "aws_iam_openid_connect_provider" "cluster" {
  url            = "https://${local.issuer_host}"
  client_id_list = ["sts.amazonaws.com"]

  depends_on = [aws_s3_bucket.this]
}

resource "aws_iam_role" "pod" {
  for_each = local.pod_roles

  name = "${local.name}-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = aws_iam_openid_connect_provider.cluster.arn }
      Condition = {
        StringEquals = {
          "${local.issuer_host}:sub" = "system:serviceaccount:${each.value.namespace}:${each.key}"
          "${local.issuer_host}:aud" = "sts.amazonaws.com"
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "pod" {
  for_each = local.pod_roles

  name   = each.key
  role   = aws_iam_role.pod[each.key].name
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value.statements })
}

resource "aws_iam_role_policy_attachment" "atlantis" {
  for_each = toset(var.atlantis ? var.atlantis_policy_arns : [])

  role       = aws_iam_role.pod["atlantis"].name
  policy_arn = each.value
}

# ---------------------------------------------------------------------------------------------------------------------
# Processes of the platform sign upload URLs, which a role's short-lived keys could not do for as long as a URL works.
# `eco2 infra secrets` makes the key, which so never stands in the state.
# ---------------------------------------------------------------------------------------------------------------------
resource "aws_iam_user" "object_store" {
  name          = "${local.name}-object-store"
  force_destroy = true
}

resource "aws_iam_user_policy" "object_store" {
  name = "object-store"
  user = aws_iam_user.object_store.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = ["${local.arns.images}/*", "${local.arns.uploads}/*", "${local.arns.ops}/backups/*", "${local.arns.ops}/imports/*", "${local.arns.ops}/reports/*"]
      },
      { Sid = "List", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.arns.images, local.arns.uploads, local.arns.ops] },
    ]
  })
}
