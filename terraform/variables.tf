variable "environment" {
  description = "dev, staging or prod; also the name of the workspace."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment is dev, staging or prod."
  }
}

variable "layout" {
  description = "A layout of clusters/layouts.yaml; empty: the one that the file gives this environment."
  type        = string
  default     = ""

  validation {
    condition     = var.layout == "" || contains(keys(yamldecode(file("${path.module}/../clusters/layouts.yaml")).layouts), var.layout)
    error_message = "clusters/layouts.yaml has no such layout."
  }
}

variable "region" {
  type    = string
  default = "ap-northeast-2"
}

variable "account_id" {
  description = "The only AWS account that may be changed; empty: whichever the credentials belong to."
  type        = string
  default     = ""
}

variable "domain" {
  description = "Domain of the environment: the API is api.DOMAIN, photos are images.DOMAIN."
  type        = string
}

variable "zone_id" {
  description = "An existing Route 53 zone of the domain, as registering a domain there makes one; empty: a zone is made."
  type        = string
  default     = ""
}

variable "parent_zone_id" {
  description = "Zone that delegates to the zone made here; empty: enter the name servers of the output by hand."
  type        = string
  default     = ""
}

variable "vpc_cidr" {
  type = string

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 4, 15))
    error_message = "vpc_cidr is a network that can be cut into 16, such as 10.10.0.0/16."
  }
}

variable "pod_cidr" {
  type    = string
  default = "192.168.0.0/16"
}

variable "service_cidr" {
  type    = string
  default = "10.96.0.0/12"
}

variable "private_nodes" {
  description = "Nodes in private subnets behind NAT gateways. Default: public subnets, without any way in but the load balancer."
  type        = bool
  default     = false
}

variable "nat_per_zone" {
  description = "With private_nodes: a NAT gateway in each zone instead of one for all."
  type        = bool
  default     = false
}

variable "ssh_cidrs" {
  description = "Networks that may use SSH. Empty: none, Session Manager is the way in."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.ssh_cidrs : can(cidrnetmask(cidr)) && tonumber(split("/", cidr)[1]) >= 16])
    error_message = "ssh_cidrs are IPv4 networks of /16 or smaller, never the whole Internet."
  }
}

variable "ssh_key_name" {
  description = "EC2 key pair of SSH; only with ssh_cidrs."
  type        = string
  default     = null
}

variable "termination_protection" {
  description = "Nodes cannot be terminated by mistake; scripts/destroy-with-cleanup.sh takes it off first."
  type        = bool
  default     = false
}

variable "delete_data" {
  description = "Buckets and the zone may be destroyed with what is in them, and secrets at once. Only scripts/destroy-with-cleanup.sh --delete-data sets it."
  type        = bool
  default     = false
}

variable "enable_cloudfront" {
  description = "CloudFront in front of photos and uploads. A distribution takes minutes to change; without it clients talk to S3 itself."
  type        = bool
  default     = true
}

variable "bucket_prefix" {
  description = "Buckets are PREFIX-images, PREFIX-uploads, PREFIX-ops: the names in workloads/domains/components/environments."
  type        = string
}

variable "web_origins" {
  description = "Origins of the web page, which uploads from the browser."
  type        = list(string)
}

variable "atlantis" {
  description = "Atlantis runs in this cluster: its role is made, which writes the state of this environment alone."
  type        = bool
  default     = false
}

variable "atlantis_policy_arns" {
  description = "Policies of Atlantis' role. With ReadOnlyAccess it plans and cannot apply."
  type        = list(string)
  default     = ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
}
