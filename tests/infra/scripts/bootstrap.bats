#!/usr/bin/env bats
load stubs

@test "Terraform, secrets, inventory, Ansible, Argo CD" {
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  order "eco2 infra state" \
    "terraform -chdir=terraform init -input=false -reconfigure -backend-config=bucket=eco2-terraform-state-1" \
    "terraform -chdir=terraform workspace select -or-create dev" \
    "-target=aws_route53_zone.public" \
    "getent" \
    "terraform -chdir=terraform apply -input=false -auto-approve -var-file=envs/dev.tfvars" \
    "eco2 infra secrets --environment dev" \
    "terraform -chdir=terraform output -raw ansible_inventory" \
    "ansible-playbook --inventory $STATE/inventory.yml site.yml --skip-tags argocd" \
    "ansible-playbook --inventory $STATE/inventory.yml site.yml --tags argocd"
  [ "$(cat "$STATE/inventory.yml")" = "all: {}" ]
}

@test "--skip-terraform leaves AWS alone and asks nothing" {
  run scripts/deployment/bootstrap_cluster.sh --environment dev --skip-terraform </dev/null
  [ "$status" -eq 0 ]
  not_called "terraform -chdir=terraform apply"
  not_called "eco2 infra"
  called "output -raw ansible_inventory"
  times 2 ansible-playbook
}

@test "Terraform works in the workspace of the environment, whichever was chosen before" {
  TF_WORKSPACE=prod run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  grep --quiet --line-regexp "terraform -chdir=terraform output -raw ansible_inventory in dev" "$CALLS.workspaces"
  grep --quiet --line-regexp "terraform -chdir=terraform workspace select -or-create dev in none" "$CALLS.workspaces"
  run grep "terraform.* in prod" "$CALLS.workspaces"
  [ "$status" -eq 1 ]
}

@test "--skip-ansible and --skip-argocd leave out their part" {
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes --skip-ansible
  [ "$status" -eq 0 ]
  times 1 ansible-playbook
  called "site.yml --tags argocd"
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes --skip-argocd
  [ "$status" -eq 0 ]
  times 2 ansible-playbook
  called "site.yml --skip-tags argocd"
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes --skip-ansible --skip-argocd
  [ "$status" -eq 0 ]
  times 2 ansible-playbook
}

@test "a domain that points elsewhere stops it with the name servers, and it goes on there" {
  DELEGATED=
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 1 ]
  [[ $output == *ns-1.example* ]]
  times 1 "terraform -chdir=terraform apply"

  DELEGATED=yes
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  times 1 "-target=aws_route53_zone.public"
  times 2 "terraform -chdir=terraform apply"
}

@test "an inventory that could not be written leaves the old one" {
  echo old >"$STATE/inventory.yml"
  FAIL="ansible_inventory"
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 1 ]
  [ "$(cat "$STATE/inventory.yml")" = old ]
  not_called ansible-playbook
}

@test "rebuild-cluster.sh destroys what is left, then bootstraps" {
  run scripts/rebuild-cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  order "terraform -chdir=terraform init" "terraform -chdir=terraform destroy" "eco2 infra secrets" "site.yml --tags argocd"
  not_called '-target=aws_s3_bucket'
}

@test "auto-rebuild.sh destroys with cleanup, then rebuilds" {
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 0 ]
  order "kubectl delete ingress" "terraform -chdir=terraform destroy" "eco2 infra leftovers" "eco2 infra secrets" "site.yml --tags argocd"
}

@test "auto-rebuild.sh goes on inside the part that failed" {
  FAIL="--skip-tags argocd"
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL=
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 0 ]
  times 1 "kubectl delete ingress"
  times 1 "eco2 infra secrets"
  times 2 "--skip-tags argocd"
}

@test "auto-rebuild.sh --restart begins anew inside its parts" {
  FAIL="--skip-tags argocd"
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL=
  run scripts/auto-rebuild.sh --environment dev --yes --restart
  [ "$status" -eq 0 ]
  times 2 "kubectl delete ingress"
  times 2 "eco2 infra secrets"

  FAIL="helm uninstall"
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL=
  run scripts/auto-rebuild.sh --environment dev --yes --restart
  [ "$status" -eq 0 ]
  times 4 "kubectl delete ingress"
}

@test "a rebuild after a stopped bootstrap has Terraform make what it destroyed" {
  FAIL="--skip-tags argocd"
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL=
  run scripts/rebuild-cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  times 2 "eco2 infra secrets"
}

@test "a bootstrap after a stopped rebuild has that one destroy again" {
  FAIL="--skip-tags argocd"
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL=
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 0 ]
  times 2 "kubectl delete ingress"
}

@test "rebuild-cluster.sh after a stopped auto-rebuild.sh has that one clean up again" {
  FAIL="--skip-tags argocd"
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL=
  run scripts/rebuild-cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 0 ]
  times 2 "kubectl delete ingress"
}

@test "auto-rebuild.sh destroys nothing twice after a failed destroy" {
  FAIL="infra leftovers"
  run scripts/auto-rebuild.sh --environment dev --yes
  [ "$status" -eq 1 ]
  not_called "ansible-playbook"
}
