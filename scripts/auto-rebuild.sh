#!/usr/bin/env bash
# Destroys the cluster of an environment and makes it anew, without anybody's help. Data in buckets stays.
set -euo pipefail

program=scripts/auto-rebuild.sh
purpose="Destroy the cluster of an environment by destroy-with-cleanup.sh, then make it anew by rebuild-cluster.sh."
own_options="  --skip-kubernetes    the old cluster does not answer any more"
# shellcheck source=scripts/lib/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/steps.sh"

skip_kubernetes=

option() {
  consumed=1
  case $1 in
    --skip-kubernetes) skip_kubernetes=--skip-kubernetes ;;
    *) return 1 ;;
  esac
}

begin "$@"
need terraform eco2
confirm "This destroys the cluster $cluster with all that its volumes hold, and makes it anew. Buckets, secrets and names stay."

step destroy scripts/destroy-with-cleanup.sh --environment "$environment" ${skip_kubernetes:+"$skip_kubernetes"} ${restart:+"$restart"} --yes
step rebuild scripts/rebuild-cluster.sh --environment "$environment" --yes
finish
