#!/bin/sh
# Installs the real MLServer from PyPI into a virtual environment of its own, for the
# integration tests, and prints the environment's directory. What is there already
# is kept. It has its own environment because what it pins is not what MLflow takes.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
wanted=$root/scripts/mlserver-requirements.txt
dir=$root/.build/mlserver-venv

say() { echo "mlserver: $*" >&2; }
die() {
	say "$*"
	exit 1
}

if cmp -s "$wanted" "$dir/requirements.txt" && "$dir/bin/python" -c '' 2>/dev/null; then
	say "$(sed -n 's/^mlserver==//p' "$wanted") is there already"
	echo "$dir"
	exit 0
fi
python=
for p in python3 python3.12 python3.11 python3.10; do
	if "$p" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; then
		python=$p
		break
	fi
done
[ -n "$python" ] || die "MLServer runs on Python 3.10 to 3.12, none of which is here: install one"

# A virtual environment holds its own path, so it is built in place; the copy of the
# requirements comes last and marks it as whole.
rm -rf "$dir"
mkdir -p "$root/.build"
"$python" -m venv "$dir" >&2 || die "$python cannot make a virtual environment: install its venv module (Debian: apt-get install python3-venv)"
say "installing $(sed -n 's/^mlserver==//p' "$wanted") by pip (about 330 MB on disk)"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$wanted" </dev/null >&2 ||
	die "could not be installed: check the network and pip's settings, then try again"
cp "$wanted" "$dir/requirements.txt"
say "it is in $dir"
echo "$dir"
