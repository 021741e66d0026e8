#!/usr/bin/env bash
# From an account of AWS to a running platform: Terraform, Ansible, Argo CD. A second run changes nothing.
set -euo pipefail

program=scripts/deployment/bootstrap_cluster.sh
purpose="Make the cluster of an environment, or bring it to what the checkout says: Terraform, Ansible, Argo CD."
own_options="  --skip-terraform     leave AWS as it is
  --skip-ansible       leave the nodes as they are
  --skip-argocd        leave Argo CD and the root Application as they are"
# shellcheck source=scripts/lib/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/steps.sh"

skip_terraform=
skip_ansible=
skip_argocd=

option() {
  consumed=1
  case $1 in
    --skip-terraform) skip_terraform=yes ;;
    --skip-ansible) skip_ansible=yes ;;
    --skip-argocd) skip_argocd=yes ;;
    *) return 1 ;;
  esac
}

begin "$@"
need terraform eco2
[ -n "$skip_ansible$skip_argocd" ] && [ -n "$skip_ansible" ] && [ -n "$skip_argocd" ] || need ansible-playbook session-manager-plugin

if [ -z "$skip_terraform" ]; then
  confirm "This makes or changes the cluster $cluster in AWS, which costs money every hour (eco2 infra cost)."
fi
forget destroy-with-cleanup.sh
# What they destroyed is there again.
forget_callers rebuild-cluster.sh auto-rebuild.sh

make_zone() { tf_apply -target=aws_route53_zone.public -target=aws_route53_record.delegation -target=aws_route53_record.probe; }

# Without delegation no certificate is issued, and an apply waits for one in vain.
check_delegation() {
  local probe
  probe=$(tf output -raw delegation_probe)
  getent ahostsv4 "$probe" >/dev/null || {
    printf 'The domain does not point here yet. Enter these name servers where it is registered:\n%s\n' "$(tf output -json name_servers)"
    return 1
  }
}

write_inventory() {
  tf output -raw ansible_inventory >"$folder/inventory.yml.new"
  mv "$folder/inventory.yml.new" "$folder/inventory.yml"
}

# Ansible encrypts the snapshots of etcd for the key in this one.
fill_secrets() { eco2 infra secrets --environment "$environment" --require backups; }

play() { (cd ansible && ansible-playbook --inventory "$folder/inventory.yml" site.yml "$@"); }

if [ -z "$skip_terraform" ]; then
  step init tf_init
  step zone make_zone
  step delegation check_delegation
  step terraform tf_apply
  step secrets fill_secrets
fi
if [ -z "$skip_terraform" ] || [ ! -e "$folder/inventory.yml" ]; then
  step inventory write_inventory
fi
[ -n "$skip_ansible" ] || step ansible play --skip-tags argocd
[ -n "$skip_argocd" ] || step argocd play --tags argocd
finish
