terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }

  # The scripts give bucket and region (`eco2 infra state` makes the bucket); a workspace for each environment. The lock is an
  # object beside the state, written on condition that there is none.
  backend "s3" {
    key          = "eco2.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = var.account_id == "" ? null : [var.account_id]

  default_tags {
    tags = local.tags
  }
}
