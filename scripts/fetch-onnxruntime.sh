#!/bin/sh
# Fetches ONNX Runtime's shared library with a package client that is here, and
# checks it against the sha256 pinned below.
#
#   scripts/fetch-onnxruntime.sh [--from npm|pypi|maven] [--platform linux-arm64] [FILE]
#
# FILE is bin/libonnxruntime.so (.dylib on macOS) when it is not given, and the
# platform that of this machine. Sources
# are tried in the order npm, PyPI, Maven; each has its own build of the
# library, so each has its own pin. Run on linux-amd64 only: the pins of
# linux-arm64 and darwin-arm64 are those of the same packages, taken there, and
# have not been run. No release from 1.24.1 on, the oldest that works, has a
# library for darwin-amd64 in any of the three: there it has to be installed
# some other way, and the script says so.
set -eu

VERSION=1.27.0
MAVEN_VERSION=1.26.0 # the newest of Maven's: 1.27.0 is not there

# pin SOURCE PLATFORM: sha256 of the library, then its path in the package.
pin() {
	case "$1/$2" in
	npm/linux-amd64) echo "d8aff4aa8abee8fb2abb2f2f2459ffc94461e781e41b9f7c072829dd0d470221 package/bin/napi-v6/linux/x64/libonnxruntime.so.1" ;;
	npm/linux-arm64) echo "c36bc200e7e6c093b8abb0b34590fbdd8c52fd3fb5e33795b9523ffdde2fce0f package/bin/napi-v6/linux/arm64/libonnxruntime.so.1" ;;
	npm/darwin-arm64) echo "89f692a3a1a224e4ad0b796b0e7c0bd81113b0741bfe84211eceef14d05a9e59 package/bin/napi-v6/darwin/arm64/libonnxruntime.1.27.0.dylib" ;;
	pypi/linux-amd64) echo "b5c9d4f124d24707f514dad926dc181820807178855df1c528e3addb2dd0e6f7 onnxruntime/capi/libonnxruntime.so.1.27.0" ;;
	pypi/linux-arm64) echo "9275ef52956228686ae47b0219f67476a1148505084bdc5571e7bf1bf69b11f2 onnxruntime/capi/libonnxruntime.so.1.27.0" ;;
	pypi/darwin-arm64) echo "49422a138fff12d7fcbd544373aefbffd510e473e08e18af28a8ecc3581029bf onnxruntime/capi/libonnxruntime.1.27.0.dylib" ;;
	maven/linux-amd64) echo "5bd5bedf736fc501692435d0ec4f6e8b2bdf48cd30af8e6d00d61b3ddc9a7ab8 ai/onnxruntime/native/linux-x64/libonnxruntime.so" ;;
	maven/linux-arm64) echo "115ecb838e703d390262b8b4d07d5248e6693c67658d4c98c48f94905ab27af4 ai/onnxruntime/native/linux-aarch64/libonnxruntime.so" ;;
	maven/darwin-arm64) echo "01fd997fe9a5b4c1c3094071cbde8bcbaf4c13d970282051866d85c224e2a951 ai/onnxruntime/native/osx-aarch64/libonnxruntime.dylib" ;;
	*) return 1 ;;
	esac
}

say() { echo "onnxruntime: $*" >&2; }
die() {
	say "$*"
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

sha256() {
	if have sha256sum; then
		sha256sum "$1" | cut -d' ' -f1
	elif have shasum; then
		shasum -a 256 "$1" | cut -d' ' -f1
	else
		die "neither sha256sum nor shasum is here: install one of them"
	fi
}

platform() {
	os=$(uname -s) arch=$(uname -m)
	case $os in
	Linux) os=linux ;;
	Darwin) os=darwin ;;
	*) die "$os is not supported: set MILLRACE_ONNXRUNTIME_LIB to a library of your own" ;;
	esac
	case $arch in
	x86_64 | amd64) arch=amd64 ;;
	aarch64 | arm64) arch=arm64 ;;
	*) die "$arch is not supported: set MILLRACE_ONNXRUNTIME_LIB to a library of your own" ;;
	esac
	echo "$os-$arch"
}

# unpack_zip ARCHIVE MEMBER > file
unpack_zip() {
	if have unzip; then
		unzip -p "$1" "$2"
	elif have python3; then
		python3 -c 'import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as f: shutil.copyfileobj(f, sys.stdout.buffer)' "$1" "$2"
	elif have jar; then
		case $1 in /*) ;; *) die "internal: $1 is not absolute" ;; esac
		(cd "$work" && jar xf "$1" "$2" && cat "$2")
	else
		say "neither unzip, python3 nor jar is here"
		return 1
	fi
}

from_npm() { # MEMBER > file
	have npm || { say "npm is not here, skipped"; return 1; }
	say "fetching onnxruntime-node $VERSION by npm (about 100 MB)"
	(cd "$work" && npm pack --silent --ignore-scripts "onnxruntime-node@$VERSION" >/dev/null) || return 1
	tar -xzOf "$work/onnxruntime-node-$VERSION.tgz" "$1"
}

from_pypi() {
	pip=
	for p in pip3 pip; do
		if have "$p"; then pip=$p && break; fi
	done
	if [ -z "$pip" ]; then
		have python3 && python3 -m pip --version >/dev/null 2>&1 || { say "pip is not here, skipped"; return 1; }
		pip="python3 -m pip"
	fi
	# One wheel for any Python here: the library inside is what is wanted.
	case $target in
	linux-amd64) tag=manylinux_2_28_x86_64 ;;
	linux-arm64) tag=manylinux_2_28_aarch64 ;;
	darwin-arm64) tag=macosx_14_0_arm64 ;;
	esac
	say "fetching onnxruntime $VERSION by pip (about 20 MB)"
	$pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp --python-version 3.12 \
		--platform "$tag" --dest "$work" "onnxruntime==$VERSION" >&2 || return 1
	unpack_zip "$work"/onnxruntime-"$VERSION"-*.whl "$1"
}

from_maven() {
	have mvn || { say "mvn is not here, skipped"; return 1; }
	say "fetching onnxruntime $MAVEN_VERSION by mvn (about 100 MB)"
	(cd "$work" && mvn --batch-mode --quiet -Dmdep.useBaseVersion=true org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get \
		-Dtransitive=false "-Dartifact=com.microsoft.onnxruntime:onnxruntime:$MAVEN_VERSION" >&2 &&
		mvn --batch-mode --quiet org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
			"-Dartifact=com.microsoft.onnxruntime:onnxruntime:$MAVEN_VERSION" "-DoutputDirectory=$work" >&2) || return 1
	unpack_zip "$work/onnxruntime-$MAVEN_VERSION.jar" "$1"
}

sources="npm pypi maven"
file= target=
while [ $# -gt 0 ]; do
	case $1 in
	--from)
		[ $# -gt 1 ] || die "--from takes npm, pypi or maven"
		case $2 in npm | pypi | maven) sources=$2 ;; *) die "--from takes npm, pypi or maven, not $2" ;; esac
		shift
		;;
	--platform)
		[ $# -gt 1 ] || die "--platform takes one such as linux-amd64"
		target=$2
		shift
		;;
	-*) die "usage: $0 [--from npm|pypi|maven] [--platform OS-ARCH] [FILE]" ;;
	*) file=$1 ;;
	esac
	shift
done

[ -n "$target" ] || target=$(platform)
if [ -z "$file" ]; then
	case $target in darwin-*) ext=dylib ;; *) ext=so ;; esac
	file=$(dirname "$0")/../bin/libonnxruntime.$ext
fi
pin npm "$target" >/dev/null ||
	die "no package has a library for $target: install ONNX Runtime 1.24.1 to 1.30.0 yourself and set MILLRACE_ONNXRUNTIME_LIB to it"

# One of the pinned builds may be here already.
if [ -f "$file" ]; then
	sum=$(sha256 "$file")
	for source in $sources; do
		if [ "$(pin "$source" "$target" | cut -d' ' -f1)" = "$sum" ]; then
			say "$file is there already"
			exit 0
		fi
	done
	say "$file is not a pinned build, it will be replaced"
fi

mkdir -p "$(dirname "$file")"
dir=$(cd "$(dirname "$file")" && pwd)
# Beside the target, so that the rename at the end is atomic.
work=$(mktemp -d "$dir/.onnxruntime.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

for source in $sources; do
	set -- $(pin "$source" "$target")
	if ! "from_$source" "$2" >"$work/library"; then
		say "$source gave nothing"
		continue
	fi
	sum=$(sha256 "$work/library")
	if [ "$sum" != "$1" ]; then
		say "$source gave a library with sha256 $sum, not $1: refused"
		continue
	fi
	chmod 755 "$work/library"
	mv -f "$work/library" "$file"
	say "$file is there, from $source"
	exit 0
done
die "could not be fetched: install npm, pip or mvn and check the network, or set MILLRACE_ONNXRUNTIME_LIB to a library of version 1.24.1 to 1.30.0"
