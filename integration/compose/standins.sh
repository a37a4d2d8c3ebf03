#!/bin/sh
# Makes images under the names that Dockerfile and compose.yaml have, from what
# package registries give, for machines where no image can be pulled. They stand in for
# function alone:
#
#   golang, python     Debian by debootstrap, with the Go of this machine, Debian's Python
#   apache/kafka       Maven Central's jars and Debian's JRE; the environment is read by
#                      Kafka's own wrapper, which the real image runs
#   prom/prometheus    Debian's
#   locustio/locust    PyPI's
#   grafana/grafana    nothing but a probe that says yes: no registry has Grafana
#
#   integration/compose/standins.sh
#
# It needs root, debootstrap, Go, and an engine that `docker` reaches. What is there
# already under one of the names is kept.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/.build/standins
export DOCKER_BUILDKIT=1

say() { echo "standins: $*" >&2; }
image() { sed -n "s|.*\($1:[^ ]*\).*|\1|p" "$root/compose.yaml" "$root/Dockerfile" | head -n 1; }
have() { docker image inspect "$1" >/dev/null 2>&1; }
# build NAME DIR: the Dockerfile comes by standard input.
build() {
	say "building $1"
	mkdir -p "$2"
	docker build --quiet --network host -t "$1" -f - "$2" >/dev/null
}

mkdir -p "$work/empty"
base=millrace-standin:trixie
if ! have "$base"; then
	say "making Debian's base"
	rm -rf --one-file-system "$work/debian"
	debootstrap --variant=minbase --include=ca-certificates,openssl trixie "$work/debian" >"$work/debootstrap.log" 2>&1 || {
		say "debootstrap failed: see $work/debootstrap.log"
		exit 1
	}
	# The authorities that this machine trusts, and its resolver.
	cp /usr/local/share/ca-certificates/*.crt "$work/debian/usr/local/share/ca-certificates/" 2>/dev/null || true
	cp /etc/resolv.conf "$work/debian/etc/"
	chroot "$work/debian" update-ca-certificates >/dev/null 2>&1
	tar -C "$work/debian" --exclude='./proc/*' --exclude='./sys/*' --exclude='./var/cache/apt/archives/*.deb' -cf - . | docker import - "$base" >/dev/null
	rm -rf --one-file-system "$work/debian"
fi

golang=$(image golang)
if ! have "$golang"; then
	build "$golang-without" "$work/empty" <<-END
		FROM $base
		RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ libc6-dev make git && rm -rf /var/lib/apt/lists/*
	END
	container=$(docker create "$golang-without" true)
	goroot=$(go env GOROOT)
	tar -C "$(dirname "$goroot")" -cf - "$(basename "$goroot")" | docker cp - "$container:/usr/local"
	docker commit -c 'ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOTOOLCHAIN=local GOPATH=/go' "$container" "$golang" >/dev/null
	docker rm "$container" >/dev/null
fi

python=$(image python)
have "$python" || build "$python" "$work/empty" <<-END
	FROM $base
	RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip python3-venv && \
		rm -rf /var/lib/apt/lists/* && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s /usr/bin/python3 /usr/local/bin/python
END

kafka=$(image apache/kafka)
if ! have "$kafka"; then
	jars=$("$root/scripts/fetch-kafka.sh")
	rm -rf "$work/kafka"
	mkdir -p "$work/kafka"
	cp -rL "$jars" "$work/kafka/libs"
	cp "$root/integration/testdata/log4j2.properties" "$work/kafka/"
	cat >"$work/kafka/run" <<-'END'
		#!/bin/bash
		set -e
		jvm=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties -cp '/opt/kafka/libs/*')
		"${jvm[@]}" kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker --mounted-configs-dir /mnt/shared/config --final-configs-dir /opt/kafka/config >/tmp/setup 2>&1 ||
			grep -i 'already formatted' /tmp/setup || { cat /tmp/setup && exit 1; }
		exec "${jvm[@]}" $KAFKA_HEAP_OPTS kafka.Kafka /opt/kafka/config/server.properties
	END
	build "$kafka" "$work/kafka" <<-END
		FROM $base
		RUN apt-get update && apt-get install -y --no-install-recommends openjdk-21-jre-headless && rm -rf /var/lib/apt/lists/*
		COPY libs /opt/kafka/libs
		COPY log4j2.properties /opt/kafka/
		COPY run /etc/kafka/docker/run
		RUN useradd -m appuser && cd /etc/kafka/docker && touch server.properties log4j2.yaml tools-log4j2.yaml && chmod +x run && \
			mkdir -p /var/lib/kafka/data /mnt/shared/config /opt/kafka/config && \
			chown -R appuser:root /var/lib/kafka /opt/kafka/config /etc/kafka /mnt/shared
		USER appuser
		CMD ["/etc/kafka/docker/run"]
	END
fi

prometheus=$(image prom/prometheus)
have "$prometheus" || build "$prometheus" "$work/empty" <<-END
	FROM $base
	RUN apt-get update && apt-get install -y --no-install-recommends prometheus wget && rm -rf /var/lib/apt/lists/* /etc/prometheus && \
		mkdir -p /prometheus && chown 65534:65534 /prometheus
	USER 65534
	ENTRYPOINT ["/usr/bin/prometheus"]
	CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
END

grafana=$(image grafana/grafana)
have "$grafana" || build "$grafana" "$work/empty" <<-END
	FROM $base
	RUN apt-get update && apt-get install -y --no-install-recommends busybox wget && mkdir -p /www/api && echo '{}' >/www/api/health
	USER 472
	CMD ["busybox", "httpd", "-f", "-p", "3000", "-h", "/www"]
END

locust=$(image locustio/locust)
have "$locust" || build "$locust" "$work/empty" <<-END
	FROM $python
	RUN pip install --no-cache-dir locust==${locust#*:}
	USER 1000
	WORKDIR /tmp
	ENTRYPOINT ["locust"]
END
say "all are there; 'docker compose build' builds the rest"
