#!/usr/bin/env bash
# Says what Terraform would change in an environment, and changes nothing but its workspace, which is made where there is none.
set -euo pipefail

program=scripts/deployment/plan.sh
purpose="Say what Terraform would change in an environment."
own_options=
# shellcheck source=scripts/lib/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/steps.sh"

option() { return 1; }

begin "$@"
need terraform eco2

# Without the lock, which is written beside the state: whoever plans may only read.
make_plan() { tf plan -input=false -lock=false -var-file="envs/$environment.tfvars"; }

step init tf_init
step plan make_plan
finish
