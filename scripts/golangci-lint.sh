#!/bin/sh
# Prints the path of golangci-lint at the pinned version: the one in PATH when it
# is that version, else one built into .build/bin.
set -eu

VERSION=2.15.0

cd "$(dirname "$0")/.."
is_pinned() { "$1" version 2>/dev/null | grep -qE "version v?$VERSION "; }

local=$PWD/.build/bin/golangci-lint
for candidate in "$local" golangci-lint; do
	path=$(command -v "$candidate" 2>/dev/null) || continue
	if is_pinned "$path"; then
		echo "$path"
		exit 0
	fi
done

command -v go >/dev/null 2>&1 || {
	echo "golangci-lint: go is not here: install Go 1.26.8 or later from https://go.dev/dl" >&2
	exit 1
}
echo "golangci-lint: building $VERSION into .build/bin (some minutes, once)" >&2
GOBIN=$PWD/.build/bin CGO_ENABLED=0 GOFLAGS= go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$VERSION" >&2 || {
	echo "golangci-lint: could not be built: check the network, or put golangci-lint $VERSION into PATH" >&2
	exit 1
}
is_pinned "$local" || {
	echo "golangci-lint: what was built does not say that it is $VERSION" >&2
	exit 1
}
echo "$local"
