#!/bin/sh
# Runs the tests under the race detector. A package that fails is run once more,
# and both runs are printed: with virtual time (testing/synctest) under the race
# detector, Go 1.26.8's own runtime has been seen to crash now and then (SIGSEGV
# in its timers, with none of our code at work). What fails twice has failed.
set -u

cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

go test -race ./... >"$log" 2>&1
status=$?
cat "$log"
[ "$status" -ne 0 ] || exit 0
failed=$(awk '$1 == "FAIL" && NF >= 2 { print $2 }' "$log" | sort -u)
[ -n "$failed" ] || exit "$status"
echo "race: once more:" $failed >&2
# shellcheck disable=SC2086 # a list of packages
go test -race -count=1 $failed
