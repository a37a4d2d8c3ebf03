#!/bin/sh
# Fetches the jars of the real Apache Kafka from Maven Central, for the integration
# tests, and prints the directory they are in. What is there already is kept.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
pom=$root/scripts/kafka-pom.xml
version=$(sed -n '/<artifactId>kafka_2.13</{n;s/.*<version>\(.*\)<.*/\1/p;}' "$pom")
dir=$root/.build/kafka-$version

say() { echo "kafka: $*" >&2; }
die() {
	say "$*"
	exit 1
}

[ -n "$version" ] || die "$pom names no version"
command -v java >/dev/null 2>&1 || die "java is not here: install a JDK or JRE, 17 or later"

if cmp -s "$pom" "$dir/pom.xml"; then
	say "$version is there already"
	echo "$dir"
	exit 0
fi
command -v mvn >/dev/null 2>&1 || die "mvn is not here: install Maven 3.8 or later"

mkdir -p "$root/.build"
work=$(mktemp -d "$root/.build/.kafka.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

say "fetching $version and what it needs by mvn (about 45 MB)"
mvn --batch-mode --quiet --file "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
	-DincludeScope=runtime "-DoutputDirectory=$work" </dev/null >&2 ||
	die "could not be fetched: check the network and Maven's settings, then try again"
[ -f "$work/kafka_2.13-$version.jar" ] || die "mvn left no broker in $work"

# The pom comes last and marks the directory as whole.
cp "$pom" "$work/pom.xml"
chmod 755 "$work"
rm -rf "$dir"
mv "$work" "$dir"
say "$version is in $dir"
echo "$dir"
