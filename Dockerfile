# Millrace's image, for amd64 and arm64:
#
#   make image                                    millrace:VERSION
#   make image-pyfunc                             millrace:VERSION-pyfunc, with Python and MLflow
#   docker buildx build --platform linux/amd64,linux/arm64 .
#
# Everything is built on the builder's own architecture, the other one by a cross
# compiler: nothing is emulated. BuildKit is needed, which Docker has from 20.10 on.

# ONNX Runtime's library, pinned and checked by the script.
FROM --platform=$BUILDPLATFORM python:3.13-slim-trixie AS onnxruntime
ARG TARGETARCH
COPY scripts/fetch-onnxruntime.sh /src/scripts/
RUN /src/scripts/fetch-onnxruntime.sh --from pypi --platform "linux-$TARGETARCH" /out/libonnxruntime.so

# What of Debian the binary and the library need: glibc, the C++ runtime, and the
# certificates of the public authorities. What dpkg knows of the packages goes to
# status.d, where scanners look for it.
FROM --platform=$BUILDPLATFORM golang:1.26.8-trixie AS system
ARG TARGETARCH
WORKDIR /packages
RUN set -eux; \
	dpkg --add-architecture "$TARGETARCH"; \
	apt-get update; \
	apt-get download "libc6:$TARGETARCH" "libgcc-s1:$TARGETARCH" "libstdc++6:$TARGETARCH"; \
	mkdir -p /root-fs/usr/lib /root-fs/usr/lib64 /root-fs/etc/ssl/certs /root-fs/tmp /root-fs/var/lib/dpkg/status.d; \
	for dir in lib lib64; do ln -s "usr/$dir" "/root-fs/$dir"; done; \
	for deb in *.deb; do \
		dpkg-deb -x "$deb" /root-fs; \
		dpkg-deb -f "$deb" >"/root-fs/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"; \
	done; \
	rm -rf /root-fs/usr/lib/*/gconv /root-fs/usr/lib/*/audit /root-fs/usr/share/gcc /root-fs/usr/share/gdb /root-fs/usr/share/lintian /root-fs/etc/ld.so.conf.d; \
	find /root-fs/usr/share/doc -type f ! -name copyright -delete; \
	cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/; \
	chmod 1777 /root-fs/tmp; \
	echo 'millrace:x:65532:65532:Millrace:/var/cache/millrace:/sbin/nologin' >/root-fs/etc/passwd; \
	echo 'millrace:x:65532:' >/root-fs/etc/group; \
	echo 'hosts: files dns' >/root-fs/etc/nsswitch.conf; \
	mkdir /cache

# The binary, with the Makefile's flags, and what is in the image as CycloneDX.
FROM --platform=$BUILDPLATFORM golang:1.26.8-trixie AS build
ENV GOCACHE=/go/cache
ARG TARGETARCH
RUN set -eux; \
	if [ "$TARGETARCH" != "$(dpkg --print-architecture)" ]; then \
		case $TARGETARCH in amd64) gcc=gcc-x86-64-linux-gnu ;; arm64) gcc=gcc-aarch64-linux-gnu ;; esac; \
		apt-get update; \
		apt-get install -y --no-install-recommends "$gcc" "libc6-dev-$TARGETARCH-cross"; \
		rm -rf /var/lib/apt/lists/*; \
	fi
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
ARG REVISION=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/cache set -eux; \
	if [ "$TARGETARCH" != "$(go env GOHOSTARCH)" ]; then \
		case $TARGETARCH in amd64) export CC=x86_64-linux-gnu-gcc ;; arm64) export CC=aarch64-linux-gnu-gcc ;; esac; \
	fi; \
	CGO_ENABLED=1 GOARCH=$TARGETARCH go build -trimpath -tags disable_grpc_modules \
		-ldflags "-s -w -X main.version=$VERSION -X main.revision=$REVISION" -o /out/millrace ./cmd/millrace
COPY --from=onnxruntime /out/libonnxruntime.so /out/
COPY --from=system /root-fs/var/lib/dpkg/status.d /status.d
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/cache \
	go run ./scripts/sbom --version "$VERSION" --arch "$TARGETARCH" --binary /out/millrace --onnxruntime /out/libonnxruntime.so \
		--script scripts/fetch-onnxruntime.sh --packages /status.d >/out/sbom.cdx.json; \
	cp LICENSE NOTICE /out/

# With Python, for models that only MLflow itself can load (flavor python_function).
# PACKAGES are what the models need besides MLflow, as in "scikit-learn==1.9.1".
FROM python:3.13-slim-trixie AS pyfunc
ARG PACKAGES=
COPY scripts/mlflow-requirements.txt /opt/millrace/
RUN set -eux; \
	grep '^mlflow==' /opt/millrace/mlflow-requirements.txt >/tmp/mlflow.txt; \
	pip install --no-cache-dir --no-compile -r /tmp/mlflow.txt $PACKAGES; \
	rm /tmp/mlflow.txt; \
	echo 'millrace:x:65532:65532:Millrace:/var/cache/millrace:/sbin/nologin' >>/etc/passwd; \
	echo 'millrace:x:65532:' >>/etc/group
COPY --from=build /out/ /opt/millrace/
COPY --from=system --chown=65532:65532 /cache /var/cache/millrace
ENV PATH=/opt/millrace:/usr/local/bin:/usr/bin:/bin \
	HOME=/var/cache/millrace \
	MILLRACE_MODEL_CACHE_DIR=/var/cache/millrace \
	MLFLOW_DISABLE_TELEMETRY=true \
	PYTHONDONTWRITEBYTECODE=1
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Millrace with Python" \
	org.opencontainers.image.description="Answers inference requests from Kafka, with models that MLflow loads in Python" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION" \
	org.opencontainers.image.source="https://github.com/millrace/millrace" \
	org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
EXPOSE 8000 8001
ENTRYPOINT ["millrace"]
CMD ["--help"]

FROM scratch AS millrace
COPY --from=system /root-fs/ /
COPY --from=build /out/ /opt/millrace/
COPY --from=system --chown=65532:65532 /cache /var/cache/millrace
ENV PATH=/opt/millrace \
	HOME=/var/cache/millrace \
	MILLRACE_MODEL_CACHE_DIR=/var/cache/millrace
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Millrace" \
	org.opencontainers.image.description="Answers inference requests from Kafka" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION" \
	org.opencontainers.image.source="https://github.com/millrace/millrace" \
	org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
EXPOSE 8000 8001
ENTRYPOINT ["millrace"]
CMD ["--help"]
