#!/usr/bin/env bats
load stubs

@test "a plan reads the environment, takes no lock and changes nothing" {
  run scripts/deployment/plan.sh --environment dev </dev/null
  [ "$status" -eq 0 ]
  called "terraform -chdir=terraform plan -input=false -lock=false -var-file=envs/dev.tfvars"
  not_called "terraform -chdir=terraform apply"
  not_called "workspace select"
}

@test "an environment without a workspace is not planned, and none is made" {
  WORKSPACES="default dev-2" run scripts/deployment/plan.sh --environment dev </dev/null
  [ "$status" -eq 0 ]
  [[ $output == *"dev has no workspace yet"* ]]
  not_called "terraform -chdir=terraform plan"
  not_called "workspace select"
}

@test "a list of workspaces that cannot be read is no environment without one" {
  FAIL="workspace list" run scripts/deployment/plan.sh --environment dev </dev/null
  [ "$status" -eq 1 ]
  not_called "terraform -chdir=terraform plan"
}

@test "a wrong call is refused with 2, and help does nothing" {
  run scripts/deployment/plan.sh --environment production
  [ "$status" -eq 2 ]
  run scripts/deployment/plan.sh --help
  [ "$status" -eq 0 ]
  [ ! -s "$CALLS" ]
}
