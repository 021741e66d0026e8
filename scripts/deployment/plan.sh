#!/usr/bin/env bash
# Says what Terraform would change in an environment, and changes nothing. An environment without a workspace is not there yet:
# its first plan is that of its first apply, since the role for plans may not create the workspace.
set -euo pipefail

program=scripts/deployment/plan.sh
purpose="Say what Terraform would change in an environment."
own_options=
# shellcheck source=scripts/lib/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/steps.sh"

option() { return 1; }

begin "$@"
need terraform eco2

# Without the lock, which is written beside the state: the role for plans may only read.
make_plan() {
  local workspaces
  workspaces=$(tf_without_workspace workspace list)
  if ! grep --quiet --line-regexp "[* ] $environment *" <<<"$workspaces"; then
    say "$environment has no workspace yet: there is nothing to compare with before scripts/deployment/bootstrap_cluster.sh"
    return
  fi
  tf plan -input=false -lock=false -var-file="envs/$environment.tfvars"
}

step init tf_backend
step plan make_plan
finish
