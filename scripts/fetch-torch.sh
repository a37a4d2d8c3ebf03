#!/bin/sh
# Puts PyTorch for the CPU into a folder of its own, for the integration tests, and
# prints that folder: site is for PYTHONPATH, lib for LD_LIBRARY_PATH, with the
# Python of "scripts/fetch-venv.sh mlflow". What is there already is kept.
#
# PyPI's wheel for Linux on x86-64 is made for CUDA: it and the libraries without
# which it cannot be imported are some gigabytes. So there it comes from Debian's
# packages, unpacked and not installed (about 120 MB to fetch, 700 MB on disk, less
# than a minute); they are made for numpy 1, which is put beside them. Elsewhere
# PyPI's wheel is for the CPU; that way has not been run.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
dir=$root/.build/torch
mark="1 numpy==1.26.4 pandas==2.2.3"

say() { echo "torch: $*" >&2; }
die() {
	say "$*"
	exit 1
}

if [ "$(cat "$dir/mark" 2>/dev/null)" = "$mark" ]; then
	say "it is there already"
	echo "$dir"
	exit 0
fi
python=$("$root/scripts/fetch-venv.sh" mlflow)/bin/python
mkdir -p "$root/.build"
work=$(mktemp -d "$root/.build/.torch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
pip() { "$python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --target "$work/site" "$@" </dev/null >&2; }

names() { # of the packages that are not installed yet
	apt-get install --no-install-recommends --print-uris -y python3-torch 2>/dev/null | sed -n "s/^'[^']*' \([^_ ]*\)_.*/\1/p"
}

from_debian() {
	command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 ||
		die "apt-get and dpkg-deb are not here: the packages of Debian 12 are needed"
	[ -n "$(names)" ] || apt-get update -qq >&2 || die "apt-get update failed: check the network"
	# Of Python's packages only torch itself: the others are MLflow's.
	libraries=$(names | grep -vE '^(python3|libpython3|libtorch-test)' || true)
	say "fetching python3-torch and what it needs by apt-get (about 120 MB)"
	mkdir "$work/debs" "$work/root" "$work/lib" "$work/site"
	(cd "$work/debs" && apt-get download -qq python3-torch $libraries >&2) || die "could not be fetched: check the network"
	for deb in "$work"/debs/*.deb; do
		dpkg-deb -x "$deb" "$work/root"
	done
	rm -r "$work/debs"
	ln -s ../root/usr/lib/python3/dist-packages/torch "$work/site/torch"
	(cd "$work/lib" && find ../root -name '*.so*' ! -path '*/python3/*' -exec ln -sf {} . \;)
	pip numpy==1.26.4 pandas==2.2.3 pytz==2025.2 tzdata==2025.2
}

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) from_debian ;;
*)
	say "installing torch by pip"
	mkdir "$work/lib"
	pip torch sympy mpmath networkx filelock fsspec || die "could not be installed: check the network and pip's settings"
	;;
esac
LD_LIBRARY_PATH=$work/lib PYTHONPATH=$work/site "$python" -c 'import torch, numpy; assert torch.ones(2).numpy().sum() == 2' >&2 ||
	die "it does not work with $("$python" --version): the packages of Debian 12 are for Python 3.11"
echo "$mark" >"$work/mark"
chmod 755 "$work"
rm -rf "$dir"
mv "$work" "$dir"
say "it is in $dir"
echo "$dir"
