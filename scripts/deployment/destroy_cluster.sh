#!/usr/bin/env bash
# The counterpart of bootstrap_cluster.sh, under the name that people look for; takes the same options.
exec "$(dirname "${BASH_SOURCE[0]}")/../destroy-with-cleanup.sh" "$@"
