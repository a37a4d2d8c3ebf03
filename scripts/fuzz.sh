#!/bin/sh
# Runs every fuzz target, one after the other, for the time given.
#
#   scripts/fuzz.sh [10s]
set -eu

time=${1:-10s}
cd "$(dirname "$0")/.."

for pkg in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do
	for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		echo "== $target ($pkg)"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg"
	done
done
