# Stand-ins for everything that the scripts call: each writes its call into $CALLS, and fails when $FAIL is a part of it.

setup() {
  CHECKOUT=$BATS_TEST_TMPDIR/checkout
  CALLS=$BATS_TEST_TMPDIR/calls
  STUBS=$BATS_TEST_TMPDIR/stubs
  STATE=$CHECKOUT/.eco2/infra/dev
  export CALLS FAIL= ADDRESSES= DELEGATED=yes NAMED=eco2-dev WORKSPACES='default dev'
  mkdir -p "$CHECKOUT/terraform" "$CHECKOUT/ansible" "$STATE" "$STUBS"
  cp -r "$BATS_TEST_DIRNAME/../../../scripts" "$CHECKOUT"
  : >"$CALLS"
  : >"$STATE/kubeconfig"
  ADDRESSES='aws_instance.node["k8s-master"] aws_vpc.this aws_s3_bucket.this["ops"] aws_route53_zone.public[0] aws_iam_role.pod["external-dns"]'
  local tool
  for tool in terraform eco2 kubectl helm aws ansible-playbook session-manager-plugin getent; do
    cat >"$STUBS/$tool" <<'STUB'
#!/usr/bin/env bash
call="$(basename "$0") $*"
printf '%s\n' "$call" >>"$CALLS"
printf '%s in %s\n' "$call" "${TF_WORKSPACE:-none}" >>"$CALLS.workspaces"
if [ -n "$FAIL" ] && [[ $call == *"$FAIL"* ]]; then
  echo "told to fail" >&2
  exit 7
fi
case $call in
  "eco2 infra state"*) echo eco2-terraform-state-1 ;;
  "eco2 infra tunnel"*) exec sleep 60 ;;
  "terraform -chdir=terraform workspace list") for name in $WORKSPACES; do printf '  %s\n' "$name"; done | sed '1s/ /*/' ;;
  "terraform -chdir=terraform state list") for address in $ADDRESSES; do echo "$address"; done ;;
  "terraform -chdir=terraform output -raw ansible_inventory") echo "all: {}" ;;
  "terraform -chdir=terraform output -raw delegation_probe") echo delegated.dev.growbin.app ;;
  "terraform -chdir=terraform output -json name_servers") echo '["ns-1.example"]' ;;
  "getent "*) [ "$DELEGATED" = yes ] ;;
  "kubectl get statefulsets,deployments"*) printf '%s\n' statefulset.apps/argocd-application-controller deployment.apps/argocd-applicationset-controller deployment.apps/argocd-server ;;
  "kubectl config view"*) printf %s "$NAMED" ;;
  "kubectl get crd"*) echo crd/rabbitmqclusters.rabbitmq.com ;;
  "helm list"*) echo '[{"name": "aws-ebs-csi-driver", "namespace": "kube-system"}, {"name": "argocd", "namespace": "argocd"}]' ;;
esac
STUB
    chmod +x "$STUBS/$tool"
  done
  PATH=$STUBS:/usr/bin:/bin
  cd "$CHECKOUT" || return
}

# order PART…: calls that contain the parts were made in this order.
order() {
  local part line last=0
  for part in "$@"; do
    line=$(tail -n "+$((last + 1))" "$CALLS" | grep --fixed-strings --line-number --max-count 1 -- "$part" | cut -d: -f1)
    if [ -z "$line" ]; then
      printf 'not called after line %s: %s\n' "$last" "$part"
      cat "$CALLS"
      return 1
    fi
    last=$((last + line))
  done
}

called() { grep --fixed-strings --quiet -- "$1" "$CALLS"; }

not_called() {
  if called "$1"; then
    printf 'called: %s\n' "$1"
    cat "$CALLS"
    return 1
  fi
}

times() { [ "$(grep --fixed-strings --count -- "$2" "$CALLS")" = "$1" ]; }
