#!/usr/bin/env bash
# Destroys the cluster of an environment with what Kubernetes made in AWS, which Terraform does not know.
set -euo pipefail

program=scripts/destroy-with-cleanup.sh
purpose="Destroy a cluster: first what Kubernetes made in AWS, then nodes and network."
own_options="  --delete-data        destroy buckets, secrets, names and the CDN as well
  --skip-kubernetes    the cluster does not answer any more: look for what it made in AWS alone
  --kubeconfig FILE    reach the cluster by this file, not through Session Manager"
# shellcheck source=scripts/lib/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/steps.sh"

delete_data=
skip_kubernetes=
kubeconfig=
tunnel=

option() {
  consumed=1
  case $1 in
    --delete-data) delete_data=yes ;;
    --skip-kubernetes) skip_kubernetes=yes ;;
    --kubeconfig)
      [ -r "${2:-}" ] || wrong "--kubeconfig needs a file"
      kubeconfig=$(realpath "$2")
      consumed=2
      ;;
    *) return 1 ;;
  esac
}

begin "$@"
need terraform eco2
[ -n "$skip_kubernetes" ] || need kubectl helm

# A file of another cluster would have that one emptied.
check_kubeconfig() {
  local named
  named=$(kubectl config view --kubeconfig "$kubeconfig" --minify -o 'jsonpath={.contexts[0].context.cluster}') ||
    wrong "$kubeconfig cannot be read, or has no current context"
  [ "$named" = "$cluster" ] ||
    wrong "the current context of $kubeconfig is of the cluster ${named:-without a name}, not of $cluster: nothing was done"
}

if [ -n "$kubeconfig" ] && [ -z "$skip_kubernetes$dry_run" ]; then
  check_kubeconfig
fi

lost="nodes, network, roles and all volumes: databases, broker, what they hold"
if [ -n "$delete_data" ]; then
  lost="$lost; all buckets with photos, backups and snapshots; all secrets; names and certificates"
fi
confirm "This destroys the cluster $cluster: $lost."
forget bootstrap_cluster.sh

cluster_answers() { kubectl --request-timeout=10s version >/dev/null 2>&1; }

reach_cluster() {
  [ -z "$dry_run" ] || return 0
  if [ -n "$kubeconfig" ]; then
    export KUBECONFIG=$kubeconfig
  else
    export KUBECONFIG=$folder/kubeconfig
    [ -r "$KUBECONFIG" ] || fail "there is no $KUBECONFIG; if the cluster never came up, give --skip-kubernetes"
    need aws
    eco2 infra tunnel --environment "$environment" &
    tunnel=$!
    trap 'kill "$tunnel" 2>/dev/null || true' EXIT
  fi
  local tries=30
  until cluster_answers; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "the cluster does not answer; if it is gone, give --skip-kubernetes"
    sleep 1
  done
}

# Argo CD would make again what is deleted.
stop_argocd() {
  local controller
  for controller in $(kubectl get statefulsets,deployments -n argocd --ignore-not-found -o name | grep -E 'application(set)?-controller' || true); do
    kubectl scale -n argocd --replicas=0 "$controller"
  done
}

# The controller takes the load balancer away before the Ingress goes.
delete_ingress() { kubectl delete ingress --all --all-namespaces --timeout=10m; }

# A claim in use goes when its Pod does.
delete_claims() { kubectl delete pvc --all --all-namespaces --wait=false; }

delete_brokers() {
  local definition
  definition=$(kubectl get crd rabbitmqclusters.rabbitmq.com --ignore-not-found -o name)
  if [ -n "$definition" ]; then
    kubectl delete rabbitmqclusters.rabbitmq.com --all --all-namespaces --timeout=10m
  fi
}

uninstall_releases() {
  local namespace name
  while read -r name namespace; do
    # The driver is needed until the volumes are gone.
    [ "$name" != aws-ebs-csi-driver ] || continue
    helm uninstall "$name" --namespace "$namespace" --wait --timeout 10m
  done < <(helm list --all-namespaces --output json | python3 -c 'import json, sys; [print(row["name"], row["namespace"]) for row in json.load(sys.stdin)]')
}

if [ -z "$skip_kubernetes" ]; then
  # When all of this is done the nodes may be gone already.
  done_before helm || reach_cluster
  step argocd stop_argocd
  step ingress delete_ingress
  step claims delete_claims
  step rabbitmq delete_brokers
  step helm uninstall_releases
fi
step init tf_init
step leftovers eco2 infra leftovers --environment "$environment" --delete
step terraform tf_destroy ${delete_data:+all}
# Volumes that were in use are free now that the nodes are gone.
step volumes eco2 infra leftovers --environment "$environment" --delete
finish
