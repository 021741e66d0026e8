#!/usr/bin/env bats
load stubs

@test "a plan reads the environment, takes no lock and changes nothing" {
  run scripts/deployment/plan.sh --environment dev </dev/null
  [ "$status" -eq 0 ]
  called "terraform -chdir=terraform plan -input=false -lock=false -var-file=envs/dev.tfvars"
  not_called "terraform -chdir=terraform apply"
}

@test "a wrong call is refused with 2, and help does nothing" {
  run scripts/deployment/plan.sh --environment production
  [ "$status" -eq 2 ]
  run scripts/deployment/plan.sh --help
  [ "$status" -eq 0 ]
  [ ! -s "$CALLS" ]
}
