#!/usr/bin/env bats
# What all scripts of provisioning promise.
load stubs

scripts='auto-rebuild.sh destroy-with-cleanup.sh rebuild-cluster.sh deployment/bootstrap_cluster.sh deployment/destroy_cluster.sh'

@test "help tells the options and does nothing" {
  for script in $scripts; do
    run "scripts/$script" --help
    [ "$status" -eq 0 ]
    [[ $output == "Usage: scripts/"* ]]
    [[ $output == *--environment* && $output == *--yes* && $output == *--dry-run* && $output == *--restart* ]]
  done
  [ ! -s "$CALLS" ]
}

@test "a wrong call is refused with 2" {
  for script in $scripts; do
    for arguments in "" "--environment" "--environment production" "--environment dev --force"; do
      # shellcheck disable=SC2086 # words
      run "scripts/$script" $arguments
      [ "$status" -eq 2 ]
      [[ $output == *"see --help"* ]]
    done
  done
  [ ! -s "$CALLS" ]
}

@test "without a terminal and --yes nothing is done, and what would die is named" {
  for script in $scripts; do
    run "scripts/$script" --environment dev </dev/null
    [ "$status" -eq 3 ]
    [[ $output == *eco2-dev* && $output == *"give --yes"* ]]
  done
  [ ! -s "$CALLS" ]
}

@test "a dry run names every step and calls nothing" {
  for script in $scripts; do
    run "scripts/$script" --environment dev --dry-run </dev/null
    [ "$status" -eq 0 ]
    [[ $output == *"would run"* ]]
  done
  [ ! -s "$CALLS" ]
  [ ! -e "$STATE/lock" ]
}

@test "a missing tool is named before anything is done" {
  rm "$STUBS/terraform"
  run scripts/rebuild-cluster.sh --environment dev --yes
  [ "$status" -eq 2 ]
  [[ $output == *"terraform is missing"* ]]
  [ ! -s "$CALLS" ]
}

@test "two runs of one environment exclude each other" {
  exec 8>"$STATE/lock"
  flock 8
  run scripts/rebuild-cluster.sh --environment dev --yes
  [ "$status" -eq 1 ]
  [[ $output == *"another run is at work on dev"* ]]
  [ ! -s "$CALLS" ]
}

@test "a log is kept" {
  run scripts/rebuild-cluster.sh --environment dev --yes
  [ "$status" -eq 0 ]
  grep "rebuild-cluster.sh: init" "$STATE/rebuild-cluster.sh.log"
}
