# Millrace. `make` alone lists what there is to do.
# Kept to what GNU make 3.81 knows, which is what macOS has.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Without the debugger's tables, which are a third of the binary.
LDFLAGS := -s -w -X main.version=$(VERSION)
# Google's storage library without the parts of gRPC that only Google's own network
# uses: 19 MB.
TAGS := disable_grpc_modules
# More arguments for `docker build`, as in: make image IMAGE_ARGS="--platform linux/arm64"
IMAGE_ARGS ?=
# More arguments for `make up` and `make bench`, as in: make up ARGS="--data-dir data"
ARGS ?=
# Seconds that each fuzz target runs in `make fuzz`.
FUZZTIME ?= 10s
# What `make test-integration` runs, as in: make test-integration RUN=TestSCRAM
RUN ?= .
# Name of the images, and what the models of the one with Python need besides MLflow.
IMAGE ?= millrace
PACKAGES ?=
# What `make torture` does, as in: make torture MODE=exactly-once FAULTS=200 SEED=7
MODE ?= at-least-once
FAULTS ?= 200
SEED ?= 1

IMAGE_BUILD = DOCKER_BUILDKIT=1 docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) $(IMAGE_ARGS)

export CGO_ENABLED := 1

# need TOOL,what to do: one line when a tool is missing.
define need
@command -v $(1) >/dev/null 2>&1 || { echo "make: $(1) is not here: $(2)" >&2; exit 1; }
endef

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

.PHONY: tools
tools:
	$(call need,go,install Go 1.26.8 or later from https://go.dev/dl)
	@cc=$$(go env CC); command -v "$${cc%% *}" >/dev/null 2>&1 || { echo "make: the C compiler $$cc is not here: install gcc or clang (Debian: apt-get install gcc libc6-dev; macOS: xcode-select --install) or set CC" >&2; exit 1; }

.PHONY: build
build: tools ## Build bin/millrace
	go build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/millrace ./cmd/millrace

.PHONY: onnxruntime
onnxruntime: ## Fetch ONNX Runtime's library to bin/, pinned and checked
	@scripts/fetch-onnxruntime.sh

.PHONY: image
image: ## Build the image IMAGE:VERSION
	$(call need,docker,install Docker)
	$(IMAGE_BUILD) -t $(IMAGE):$(VERSION) .

.PHONY: image-pyfunc
image-pyfunc: ## Build the image with Python, for models of PACKAGES
	$(call need,docker,install Docker)
	$(IMAGE_BUILD) --target pyfunc --build-arg PACKAGES='$(PACKAGES)' -t $(IMAGE):$(VERSION)-pyfunc .

.PHONY: up
up: onnxruntime build ## Run the whole system in one process
	bin/millrace up $(ARGS)

.PHONY: test
test: tools onnxruntime ## Run the tests
	go test ./...

.PHONY: race
race: tools onnxruntime ## Run the tests under the race detector
	@scripts/race.sh

.PHONY: fmt
fmt: tools ## Format the code
	@lint=$$(scripts/golangci-lint.sh) && "$$lint" fmt

.PHONY: lint
lint: tools ## Check formatting, go vet and golangci-lint
	@lint=$$(scripts/golangci-lint.sh) && "$$lint" fmt --diff && "$$lint" run
	go vet -tags integration ./...

.PHONY: tidy
tidy: tools
	go mod tidy -diff

.PHONY: check
check: lint tidy race ## What CI runs besides the integration tests

.PHONY: test-integration
test-integration: onnxruntime build ## Run the tests against the real Kafka, MLflow, MLServer, Prometheus and Locust
	@scripts/fetch-kafka.sh >/dev/null
	@scripts/fetch-venv.sh mlflow >/dev/null
	@scripts/fetch-prometheus.sh >/dev/null
	@scripts/fetch-venv.sh mlserver >/dev/null
	@scripts/fetch-venv.sh locust >/dev/null
	go test -tags integration -count=1 -timeout 55m -v -run '$(RUN)' ./integration/

.PHONY: test-chart
test-chart: tools ## Render the chart, and hold it against Kubernetes, KEDA, and the code
	cd charts/test && CGO_ENABLED=0 go test -vet=off -trimpath .

.PHONY: test-compose
test-compose: tools ## Run compose.yaml with a Docker engine; its ports have to be free
	$(call need,docker,install Docker with Compose)
	docker compose build
	go test -tags compose -count=1 -timeout 40m -v ./integration/compose/

.PHONY: test-scalers
test-scalers: onnxruntime build ## Have KEDA's own scalers read what the chart asks for (12 CPU-minutes to build, the first time)
	@scripts/fetch-prometheus.sh >/dev/null
	@scripts/fetch-kafka.sh >/dev/null
	cd charts/test/scalers && CGO_ENABLED=0 go test -vet=off -trimpath -count=1 -timeout 10m .

.PHONY: test-autoscale
test-autoscale: onnxruntime build ## Have the real Kubernetes and KEDA scale workers (55 CPU-minutes to build, the first time; then 15 minutes)
	@scripts/fetch-prometheus.sh >/dev/null
	@scripts/fetch-kafka.sh >/dev/null
	cd charts/test/autoscale/kubernetes && version=$$(go list -m -f '{{.Version}}' k8s.io/kubernetes) && CGO_ENABLED=0 go build -trimpath \
		-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$version" -o ../../../../.build/autoscale/kubernetes .
	cd charts/test/autoscale/keda && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../../../../.build/autoscale/keda .
	cd charts/test && CGO_ENABLED=0 go test -vet=off -trimpath ./autoscale/procnode
	cd charts/test && CGO_ENABLED=0 go test -vet=off -trimpath -tags autoscale -count=1 -timeout 40m -v ./autoscale

.PHONY: torture
torture: onnxruntime build ## Break what can be broken (MODE, FAULTS, SEED) and check every answer
	@scripts/fetch-kafka.sh >/dev/null
	@scripts/fetch-venv.sh mlflow >/dev/null
	go test -tags integration -count=1 -timeout 12h -v -run '^TestTorture$$' ./integration/ \
		-args -torture.mode='$(MODE)' -torture.faults='$(FAULTS)' -torture.seed='$(SEED)'

.PHONY: bench
bench: tools onnxruntime ## Measure the worker against its two limits
	go run ./bench $(ARGS)

.PHONY: fuzz
fuzz: tools onnxruntime ## Run each fuzz target for FUZZTIME (10s)
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: docs
docs: tools ## Write what is made from the code: the tables of README.md, docs/ and the chart, the dashboards
	go test ./cmd/millrace -run 'README|Chart' -update
	go test ./metrics -update
	go run ./charts/dashboards charts/millrace/dashboards
	cd charts/test && CGO_ENABLED=0 go test -vet=off -trimpath -run 'README|Document|Queries' . -update

.PHONY: clean
clean: ## Remove what was built and fetched
	rm -rf bin .build dist
