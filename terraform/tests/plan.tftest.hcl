# Every environment is planned with its own variables against a provider that answers with made-up ids:
# terraform test -var-file=envs/dev.tfvars
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }

  mock_data "aws_availability_zones" {
    defaults = { names = ["ap-northeast-2a", "ap-northeast-2b", "ap-northeast-2c", "ap-northeast-2d"] }
  }

  # Mocks invent whatever AWS might fill in. These it does not: what is not given stays empty.
  mock_resource "aws_vpc_security_group_ingress_rule" {
    defaults = { cidr_ipv4 = "", cidr_ipv6 = "", prefix_list_id = "", referenced_security_group_id = "" }
  }

  mock_resource "aws_ssm_parameter" {
    defaults = { value = "" }
  }

  mock_resource "aws_acm_certificate" {
    defaults = {
      arn = "arn:aws:acm:ap-northeast-2:111122223333:certificate/mocked"
      domain_validation_options = [
        { domain_name = "mocked", resource_record_name = "_a.mocked", resource_record_type = "CNAME", resource_record_value = "b.acm" },
      ]
    }
  }
}

run "apply" {
  command = apply

  assert {
    condition     = length(aws_instance.node) == length(local.nodes)
    error_message = "A node of the layout is missing."
  }
}
