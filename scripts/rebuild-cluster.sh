#!/usr/bin/env bash
# Makes the nodes of an environment anew: what Terraform still has of the old ones goes first. Data in buckets stays.
set -euo pipefail

program=scripts/rebuild-cluster.sh
purpose="Destroy the nodes and the network of an environment that are left, and make the cluster anew."
own_options=
# shellcheck source=scripts/lib/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/steps.sh"

option() { return 1; }

begin "$@"
need terraform eco2
confirm "This makes the cluster $cluster anew; whatever its nodes still hold is lost."
forget_callers auto-rebuild.sh

step init tf_init
step destroy tf_destroy
step bootstrap scripts/deployment/bootstrap_cluster.sh --environment "$environment" --yes
finish
