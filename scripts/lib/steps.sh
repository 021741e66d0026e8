#!/usr/bin/env bash
# Shared by the scripts that make and destroy clusters: options, confirmation, log, and steps that go on where they stopped.
# A script sets `program`, `purpose` and `own_options`, defines `option` for options of its own, and calls `begin "$@"`.

# shellcheck disable=SC2154 # what a script sets

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
environment=
yes=
dry_run=
restart=
called=
given=

say() { printf '%s: %s\n' "$(basename "$program")" "$*"; }

fail() {
  printf '%s: %s\n' "$(basename "$program")" "$*" >&2
  exit 1
}

wrong() {
  printf '%s: %s (see --help)\n' "$(basename "$program")" "$*" >&2
  exit 2
}

usage() {
  cat <<END_USAGE
Usage: $program --environment dev|staging|prod [options]

$purpose

  --environment NAME   dev, staging or prod
${own_options:+$own_options
}  --yes                do not ask; needed where there is no terminal
  --dry-run            say what would be done, and do nothing
  --restart            forget what a stopped run has done, and begin with the first step
  --help               this text

A run that stopped goes on after its last finished step when the same command is given again.
Log: .eco2/infra/ENVIRONMENT/. Exit codes: 0 done, 1 a step failed, 2 the call is wrong, 3 not confirmed.
END_USAGE
}

# Reads the options, takes the lock of the environment, opens the log.
begin() {
  given="$*"
  while [ $# -gt 0 ]; do
    case $1 in
      --environment)
        case ${2:-} in
          dev | staging | prod) environment=$2 ;;
          *) wrong "--environment needs dev, staging or prod" ;;
        esac
        shift 2
        ;;
      --yes) yes=--yes && shift ;;
      --dry-run) dry_run=--dry-run && shift ;;
      --restart) restart=--restart && shift ;;
      -h | --help) usage && exit 0 ;;
      *)
        option "$@" || wrong "unknown argument $1"
        shift "$consumed"
        ;;
    esac
  done
  [ -n "$environment" ] || wrong "--environment is missing"
  cluster=eco2-$environment
  folder=$checkout/.eco2/infra/$environment
  finished=$folder/$(basename "$program").finished
  mkdir -p "$folder"
  cd "$checkout"
  PATH=$PATH:$checkout/.venv/bin
  [ -z "$dry_run" ] || return 0
  # One at a time for an environment; a script that this one calls belongs to the same run.
  if [ "${ECO2_INFRA_LOCK:-}" != "$environment" ]; then
    exec 9>"$folder/lock"
    flock --nonblock 9 || fail "another run is at work on $environment"
    export ECO2_INFRA_LOCK=$environment
    exec > >(tee -a "$folder/$(basename "$program").log") 2>&1
    say "$(date -u +%FT%TZ) $given"
  else
    called=yes
  fi
  # What was finished with other options says nothing of this run.
  if [ -n "$restart" ] || [ "$(head -n 1 "$finished" 2>/dev/null)" != "$(signature)" ]; then
    signature >"$finished"
  fi
}

signature() {
  local words
  words=" $given "
  words=${words// --yes / }
  printf '%s\n' "${words// --restart / }"
}

# forget SCRIPT…: what these had finished is undone by this run, so that they begin with the first step again.
forget() {
  [ -z "$dry_run" ] || return 0
  local script
  for script in "$@"; do
    rm -f "$folder/$script.finished"
  done
}

# forget_callers SCRIPT…: the same for scripts that call this one, unless one of them is at work.
forget_callers() { [ -n "$called" ] || forget "$@"; }

# confirm WHAT: a person types the name of the cluster. The scripts called by a confirmed one do not ask again.
confirm() {
  printf '%s\n' "$1"
  [ -z "$dry_run" ] && [ -z "$yes" ] || return 0
  [ -t 0 ] || {
    printf '%s: there is no terminal to ask on: give --yes\n' "$(basename "$program")" >&2
    exit 3
  }
  local answer
  printf 'Type %s to go on: ' "$cluster"
  read -r answer
  [ "$answer" = "$cluster" ] || {
    say "not confirmed, nothing was done"
    exit 3
  }
  yes=--yes
}

done_before() { grep --quiet --line-regexp --fixed-strings "$1" "$finished" 2>/dev/null; }

# step NAME COMMAND…: once; a run that stopped skips what was finished.
step() {
  local name=$1
  shift
  if [ -n "$dry_run" ]; then
    printf 'would run %-12s %s\n' "$name" "$*"
    return 0
  fi
  if done_before "$name"; then
    say "$name: done before"
    return 0
  fi
  say "$name"
  # In a subshell, so that `set -e` holds inside the functions that are steps.
  set +e
  (
    set -e
    "$@"
  )
  local status=$?
  set -e
  if [ "$status" -ne 0 ]; then
    fail "step $name failed ($status). When its cause is gone, give the same command again: it goes on here"
  fi
  printf '%s\n' "$name" >>"$finished"
}

finish() {
  [ -z "$dry_run" ] || return 0
  rm -f "$finished"
  say "done"
}

need() {
  [ -z "$dry_run" ] || return 0
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || wrong "$tool is missing"
  done
}

# ---------------------------------------------------------------------------------------------------------------------
# Terraform
# ---------------------------------------------------------------------------------------------------------------------
# Data outlives the cluster unless it is to go: addresses that begin so are left alone.
kept='^(data\.|aws_s3_|aws_secretsmanager_|aws_ssm_parameter\.|aws_iam_user|aws_route53_zone\.public|aws_route53_record\.(validation|probe|delegation|images)|aws_acm_|aws_cloudfront_)'

# What its own arguments keep from being destroyed, or from being destroyed with what is in it.
guarded='^(aws_instance\.node|aws_s3_bucket\.this|aws_secretsmanager_secret\.this|aws_route53_zone\.public)'

# Whatever workspace was chosen last: this one is meant.
tf() { TF_WORKSPACE=$environment terraform -chdir=terraform "$@"; }

# Where the workspace is not there yet.
tf_without_workspace() { env -u TF_WORKSPACE terraform -chdir=terraform "$@"; }

tf_backend() {
  local bucket
  bucket=$(eco2 infra state)
  tf_without_workspace init -input=false -reconfigure -backend-config="bucket=$bucket" -backend-config="region=${AWS_REGION:-ap-northeast-2}"
}

# The same, and its workspace, which is made where there is none.
tf_init() {
  tf_backend
  tf_without_workspace workspace select -or-create "$environment"
}

# tf_apply ARGUMENTS…
tf_apply() { tf apply -input=false -auto-approve -var-file="envs/$environment.tfvars" "$@"; }

# Destroys nodes, network and roles; with `all` also buckets, secrets, names and the CDN.
tf_destroy() {
  local listed target
  local -a targets=() protected=()
  # A call of its own, so that its failure is not taken for an empty list.
  listed=$(tf state list)
  # What is bootstrapped from here on begins anew.
  forget bootstrap_cluster.sh
  if [ "${1:-}" = all ]; then
    while read -r target; do
      [[ ! $target =~ $guarded ]] || protected+=("-target=$target")
    done <<<"$listed"
    # With targets: without them whatever is gone already would be made again.
    [ ${#protected[@]} -eq 0 ] || tf_apply -var=termination_protection=false -var=delete_data=true "${protected[@]}"
    tf destroy -input=false -auto-approve -var-file="envs/$environment.tfvars" -var=delete_data=true
    return
  fi
  while read -r target; do
    [[ -n $target && ! $target =~ $kept ]] || continue
    targets+=("-target=$target")
    [[ $target != aws_instance.node* ]] || protected+=("-target=$target")
  done <<<"$listed"
  if [ ${#targets[@]} -eq 0 ]; then
    say "nothing is left to destroy"
    return
  fi
  [ ${#protected[@]} -eq 0 ] || tf_apply -var=termination_protection=false "${protected[@]}"
  tf destroy -input=false -auto-approve -var-file="envs/$environment.tfvars" "${targets[@]}"
}
