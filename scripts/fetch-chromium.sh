#!/bin/sh
# Finds a Chromium or Chrome for the tests of the pages, and prints its path. Where there
# is none, root gets Debian's package by apt-get; others are told what to do.
set -eu

say() { echo "chromium: $*" >&2; }

find() {
	for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
		if command -v "$name" 2>/dev/null; then
			return 0
		fi
	done
	return 1
}

find && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
	say "installing Debian's package (about 100 MB to download)"
	install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium </dev/null >&2; }
	install || { apt-get update -qq </dev/null >&2 && install; } || {
		say "could not be installed: check the network and apt's sources, then try again"
		exit 1
	}
	find && exit 0
fi
say "there is no Chromium or Chrome here: install one (Debian: apt-get install chromium)"
exit 1
