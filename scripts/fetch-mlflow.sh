#!/bin/sh
# Installs the real MLflow from PyPI into a virtual environment of its own, for the
# integration tests, and prints the environment's directory. What is there already
# is kept.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
wanted=$root/scripts/mlflow-requirements.txt
dir=$root/.build/mlflow-venv

say() { echo "mlflow: $*" >&2; }
die() {
	say "$*"
	exit 1
}

if cmp -s "$wanted" "$dir/requirements.txt" && "$dir/bin/python" -c '' 2>/dev/null; then
	say "$(sed -n 's/^mlflow==//p' "$wanted") is there already"
	echo "$dir"
	exit 0
fi
command -v python3 >/dev/null 2>&1 || die "python3 is not here: install Python 3.10 or later"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "$(python3 --version) is too old: install Python 3.10 or later"

# A virtual environment holds its own path, so it is built in place; the copy of the
# requirements comes last and marks it as whole.
rm -rf "$dir"
mkdir -p "$root/.build"
python3 -m venv "$dir" >&2 || die "python3 cannot make a virtual environment: install its venv module (Debian: apt-get install python3-venv)"
say "installing $(sed -n 's/^mlflow==//p' "$wanted") by pip (about 900 MB on disk, one to three minutes)"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$wanted" </dev/null >&2 ||
	die "could not be installed: check the network and pip's settings, then try again"
cp "$wanted" "$dir/requirements.txt"
say "it is in $dir"
echo "$dir"
