#!/bin/sh
# Installs a program from PyPI, with all that scripts/NAME-requirements.txt pins, into a
# virtual environment of its own, .build/NAME-venv, and prints that directory. What is
# there already is kept. Each has its own environment, for their pins contradict each
# other. A line "# python: 3.10 3.13" in the file says from which version on, and up to
# which, that one excluded.
#
#   scripts/fetch-venv.sh mlserver
set -eu

name=${1:?usage: fetch-venv.sh NAME}
root=$(cd "$(dirname "$0")/.." && pwd)
wanted=$root/scripts/$name-requirements.txt
dir=$root/.build/$name-venv

say() { echo "$name: $*" >&2; }
die() {
	say "$*"
	exit 1
}

[ -f "$wanted" ] || die "there is no $wanted"
if cmp -s "$wanted" "$dir/requirements.txt" && "$dir/bin/python" -c '' 2>/dev/null; then
	say "$(sed -n "s/^$name==//p" "$wanted") is there already"
	echo "$dir"
	exit 0
fi
range=$(sed -n 's/^# python: //p' "$wanted")
from=${range%% *}
below=${range##* }
python=
for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
	if "$p" -c 'import sys
def v(s): return tuple(map(int, s.split(".")))
sys.exit(not v(sys.argv[1]) <= sys.version_info[:2] < v(sys.argv[2]))' "${from:-3.10}" "${below:-4.0}" 2>/dev/null; then
		python=$p
		break
	fi
done
[ -n "$python" ] || die "it runs on Python ${from:-3.10} or later, below ${below:-4.0}, none of which is here: install one"

# A virtual environment holds its own path, so it is built in place; the copy of the
# requirements comes last and marks it as whole.
rm -rf "$dir"
mkdir -p "$root/.build"
"$python" -m venv "$dir" >&2 || die "$python cannot make a virtual environment: install its venv module (Debian: apt-get install python3-venv)"
say "installing $(sed -n "s/^$name==//p" "$wanted") by pip"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$wanted" </dev/null >&2 ||
	die "could not be installed: check the network and pip's settings, then try again"
cp "$wanted" "$dir/requirements.txt"
say "it is in $dir"
echo "$dir"
