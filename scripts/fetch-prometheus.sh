#!/bin/sh
# Fetches Prometheus and promtool from Debian's packages into .build/prometheus, for
# the integration tests, and prints the directory of the two programs. apt checks the
# package's signature. What is there already is kept. Nothing is installed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
dir=$root/.build/prometheus

say() { echo "prometheus: $*" >&2; }
die() {
	say "$*"
	exit 1
}

if [ -x "$dir/usr/bin/prometheus" ] && [ -x "$dir/usr/bin/promtool" ]; then
	say "is there already"
	echo "$dir/usr/bin"
	exit 0
fi
if prometheus=$(command -v prometheus) && command -v promtool >/dev/null 2>&1; then
	say "this machine's own is used: $prometheus"
	dirname "$prometheus"
	exit 0
fi
command -v apt-get >/dev/null 2>&1 || die "apt-get is not here: install Prometheus, with promtool, by your own means and put both into PATH"
command -v dpkg-deb >/dev/null 2>&1 || die "dpkg-deb is not here: install dpkg"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/prometheus-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
say "downloading Debian's package (about 20 MB)"
(cd "$tmp" && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; }) </dev/null >&2 ||
	die "could not be downloaded: check the network and apt's sources, then try again"
mkdir -p "$root/.build"
rm -rf "$dir"
dpkg-deb -x "$tmp"/prometheus_*.deb "$tmp/x" >&2
mv "$tmp/x" "$dir"
say "it is in $dir"
echo "$dir/usr/bin"
