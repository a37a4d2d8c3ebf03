#!/bin/sh
# Runs the tests under the race detector. A package whose run was ended by a
# SIGSEGV of Go's own runtime is run once more, and both runs are printed: with
# virtual time (testing/synctest) under the race detector, Go 1.26.8 has been
# seen to crash in its timers now and then. A test that fails, a race, or a crash
# under cgo is a failure at once.
set -u

cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

go test -race -timeout 20m ./... >"$log" 2>&1
status=$?
cat "$log"
[ "$status" -ne 0 ] || exit 0
# A package's output stands before its line of "ok" or "FAIL".
crashed=$(awk '
	/^SIGSEGV: segmentation violation/ { crash = 1 }
	/^--- FAIL|^WARNING: DATA RACE|^panic:|^signal arrived during cgo execution/ { ours = 1 }
	$1 == "FAIL" && NF >= 2 { if (crash && !ours) print $2; else failed = 1 }
	($1 == "ok" || $1 == "FAIL") && NF >= 2 { crash = ours = 0 }
	END { if (failed) print "failed" }
' "$log")
case $crashed in
"" | *failed) exit "$status" ;;
esac
echo "race: the runtime crashed, once more:" $crashed >&2
# shellcheck disable=SC2086 # a list of packages
go test -race -timeout 20m -count=1 $crashed
