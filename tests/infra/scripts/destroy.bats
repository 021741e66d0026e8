#!/usr/bin/env bats
load stubs

@test "what Kubernetes made goes first, then what Terraform made" {
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 0 ]
  order "eco2 infra tunnel --environment dev" \
    "kubectl scale -n argocd --replicas=0 statefulset.apps/argocd-application-controller" \
    "kubectl scale -n argocd --replicas=0 deployment.apps/argocd-applicationset-controller" \
    "kubectl delete ingress --all --all-namespaces" \
    "kubectl delete pvc --all --all-namespaces --wait=false" \
    "kubectl delete rabbitmqclusters.rabbitmq.com --all --all-namespaces" \
    "helm uninstall argocd --namespace argocd" \
    "terraform -chdir=terraform init" \
    "eco2 infra leftovers --environment dev --delete" \
    "terraform -chdir=terraform destroy" \
    "eco2 infra leftovers --environment dev --delete"
  not_called "helm uninstall aws-ebs-csi-driver"
  not_called "scale -n argocd --replicas=0 deployment.apps/argocd-server"
}

@test "data outlives the cluster" {
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 0 ]
  called '-target=aws_instance.node["k8s-master"]'
  called '-target=aws_vpc.this'
  called '-target=aws_iam_role.pod["external-dns"]'
  not_called '-target=aws_s3_bucket'
  not_called '-target=aws_route53_zone.public'
  not_called 'delete_data=true'
  order "apply -input=false -auto-approve -var-file=envs/dev.tfvars -var=termination_protection=false" "terraform -chdir=terraform destroy"
}

@test "with --delete-data everything goes, and is named" {
  run scripts/destroy-with-cleanup.sh --environment dev --yes --delete-data
  [ "$status" -eq 0 ]
  [[ $output == *"all buckets with photos, backups and snapshots; all secrets"* ]]
  order "-var=delete_data=true" "destroy -input=false -auto-approve -var-file=envs/dev.tfvars -var=delete_data=true"
  not_called -target=aws_vpc
}

@test "before everything goes, only what is there and guards itself is changed" {
  ADDRESSES='aws_instance.node["k8s-master"] aws_vpc.this aws_s3_bucket.this["ops"] aws_secretsmanager_secret.this["slack"] aws_route53_zone.public[0]'
  run scripts/destroy-with-cleanup.sh --environment dev --yes --delete-data
  [ "$status" -eq 0 ]
  times 1 "terraform -chdir=terraform apply"
  called 'apply -input=false -auto-approve -var-file=envs/dev.tfvars -var=termination_protection=false -var=delete_data=true -target=aws_instance.node["k8s-master"] -target=aws_s3_bucket.this["ops"] -target=aws_secretsmanager_secret.this["slack"] -target=aws_route53_zone.public[0]'

  ADDRESSES='aws_vpc.this'
  run scripts/destroy-with-cleanup.sh --environment dev --yes --delete-data
  [ "$status" -eq 0 ]
  times 1 "terraform -chdir=terraform apply"
  times 2 "terraform -chdir=terraform destroy"
}

@test "no node is made again to be destroyed" {
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 0 ]
  called '-var=termination_protection=false -target=aws_instance.node["k8s-master"]'
  run grep --extended-regexp -- "-target=aws_instance.node( |$)" "$CALLS"
  [ "$status" -eq 1 ]
}

@test "a list that cannot be read is not an empty one" {
  FAIL="state list"
  for data in "" --delete-data; do
    # shellcheck disable=SC2086 # nothing or a word
    run scripts/destroy-with-cleanup.sh --environment dev --yes --skip-kubernetes $data
    [ "$status" -eq 1 ]
    [[ $output == *"step terraform failed"* ]]
    [[ $output != *"nothing is left"* ]]
    not_called "terraform -chdir=terraform destroy"
  done
}

@test "a bootstrap after a stopped destroy has it begin anew, and the reverse" {
  FAIL="terraform -chdir=terraform destroy"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL="--skip-tags argocd"
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 1 ]
  times 1 "eco2 infra secrets"
  FAIL=
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 0 ]
  times 2 "kubectl delete ingress"
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  times 2 "eco2 infra secrets"
}

@test "a destroy that stopped in the cluster has the bootstrap begin anew" {
  FAIL="--skip-tags argocd"
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL="helm uninstall"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL=
  run scripts/deployment/bootstrap_cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  times 2 "eco2 infra secrets"
}

@test "a destroy that is not confirmed forgets nothing" {
  echo old >"$STATE/bootstrap_cluster.sh.finished"
  run scripts/destroy-with-cleanup.sh --environment dev </dev/null
  [ "$status" -eq 3 ]
  run scripts/destroy-with-cleanup.sh --environment dev --yes --dry-run
  [ "$status" -eq 0 ]
  [ -e "$STATE/bootstrap_cluster.sh.finished" ]
}

@test "a cluster that is gone is skipped when it is said" {
  FAIL="kubectl"
  run scripts/destroy-with-cleanup.sh --environment dev --yes --skip-kubernetes
  [ "$status" -eq 0 ]
  not_called kubectl
  not_called helm
  called "eco2 infra leftovers"
}

@test "without a kubeconfig the way out is named" {
  rm "$STATE/kubeconfig"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 1 ]
  [[ $output == *"give --skip-kubernetes"* ]]
  not_called terraform
}

@test "it stops at the first failure and goes on there" {
  FAIL="helm uninstall"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 1 ]
  [[ $output == *"step helm failed"* ]]
  not_called "terraform -chdir=terraform"
  not_called "infra leftovers"

  FAIL=
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 0 ]
  [[ $output == *"ingress: done before"* ]]
  times 1 "kubectl delete ingress"
  times 2 "helm uninstall argocd"
  called "terraform -chdir=terraform destroy"
}

@test "a run that stopped in Terraform goes on without the cluster" {
  FAIL="terraform -chdir=terraform destroy"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL=kubectl
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 0 ]
  times 2 "terraform -chdir=terraform destroy"
}

@test "a failure in the middle of a step fails the step" {
  FAIL="workspace select"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 1 ]
  [[ $output == *"step init failed"* ]]
  not_called "infra leftovers"
}

@test "nothing is destroyed while AWS still has what Kubernetes made" {
  FAIL="infra leftovers"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 1 ]
  not_called "terraform -chdir=terraform destroy"
}

@test "other options, --restart or a finished run begin anew" {
  FAIL="helm uninstall"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  FAIL=
  run scripts/destroy-with-cleanup.sh --environment dev --yes --restart
  [ "$status" -eq 0 ]
  times 2 "kubectl delete ingress"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  times 3 "kubectl delete ingress"

  FAIL="infra leftovers"
  run scripts/destroy-with-cleanup.sh --environment dev --yes
  [ "$status" -eq 1 ]
  FAIL=
  run scripts/destroy-with-cleanup.sh --environment dev --yes --delete-data
  times 5 "kubectl delete ingress"
}

@test "where nothing is left, nothing is destroyed" {
  ADDRESSES='aws_s3_bucket.this["ops"] aws_secretsmanager_secret.this["slack"]'
  run scripts/destroy-with-cleanup.sh --environment dev --yes --skip-kubernetes
  [ "$status" -eq 0 ]
  not_called "terraform -chdir=terraform destroy"
}

@test "a kubeconfig of one's own needs no tunnel" {
  run scripts/destroy-with-cleanup.sh --environment dev --yes --kubeconfig "$STATE/kubeconfig"
  [ "$status" -eq 0 ]
  not_called "eco2 infra tunnel"
}

@test "a kubeconfig of another cluster stops it before it asks" {
  for NAMED in eco2-prod ""; do
    run scripts/destroy-with-cleanup.sh --environment dev --kubeconfig "$STATE/kubeconfig"
    [ "$status" -eq 2 ]
    [[ $output == *"not of eco2-dev: nothing was done"* ]]
    [[ $output != *"This destroys"* ]]
  done
  FAIL="config view"
  run scripts/destroy-with-cleanup.sh --environment dev --yes --kubeconfig "$STATE/kubeconfig"
  [ "$status" -eq 2 ]
  [[ $output == *"has no current context"* ]]
  not_called "kubectl delete"
  not_called terraform
}

@test "destroy_cluster.sh is the same" {
  run scripts/deployment/destroy_cluster.sh --environment dev --yes --skip-kubernetes
  [ "$status" -eq 0 ]
  called "terraform -chdir=terraform destroy"
}
