#!/bin/sh
# Runs the tests under the race detector. A package whose run was ended by a crash
# of Go's own runtime is run again, on one processor and three times at most, and
# all runs are printed. Under the detector, Go 1.26.8 runs the timers of a bubble of
# virtual time (testing/synctest) on any thread but with one state of the detector's
# for all of the bubble, and breaks it now and then: a SIGSEGV outside of Go code, a fatal
# error of the runtime's timers and bubbles, or a failed check of the detector's
# own. A test that fails, a race, a panic, another fatal error, or a crash under
# cgo is a failure at once.
set -u

cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# crashed prints the packages that only the runtime's crash ended, and "failed" when
# there was another failure. A package's output stands before its line of "ok" or
# "FAIL".
crashed() {
	awk '
		/SIGSEGV: segmentation violation$/ || /SIGBUS: bus error$/ { crash = 1 }
		/ThreadSanitizer:? CHECK failed/ { crash = bubble = 1 } # which tells no goroutines
		/^fatal error: / {
			if ($0 ~ /: (unexpected signal during runtime execution|unexpected racectx|unexpected syncgroup set|bad timer heap( len)?|timer data corruption|too many concurrent timer firings|mismatched isSending updates|active < 0|running == 0 && active == 0)$/) crash = 1
			else ours = 1
		}
		/^goroutine .*synctest bubble/ { bubble = 1 }
		/^--- FAIL|^WARNING: DATA RACE|^panic:|^signal arrived during cgo execution/ { ours = 1 }
		$1 == "FAIL" && NF >= 2 { if (crash && bubble && !ours) print $2; else failed = 1 }
		($1 == "ok" || $1 == "FAIL") && NF >= 2 { crash = bubble = ours = 0 }
		END { if (failed) print "failed" }
	' "$log"
}

packages=./...
again=
while :; do
	# shellcheck disable=SC2086 # lists
	go test -race -timeout 20m ${again:+-count=1 -cpu=1} $packages >"$log" 2>&1
	status=$?
	cat "$log"
	[ "$status" -ne 0 ] || exit 0
	packages=$(crashed)
	case $packages in
	"" | *failed) exit "$status" ;;
	esac
	[ "$again" != 111 ] || exit "$status"
	again=1$again
	echo "race: the runtime crashed, once more:" $packages >&2
done
