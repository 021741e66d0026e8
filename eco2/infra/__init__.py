"""Questions of the provisioning scripts to AWS (`eco2 infra`)."""
