# The same lines for people and for CI. `make test` needs Go alone; `make e2e`
# and `make demo` install what they need when run as root on Debian.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -buildid= -X main.version=$(VERSION) -X main.commit=$(COMMIT)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 30s
BENCH ?= .
BENCHTIME ?= 3x

.PHONY: build test race lint fuzz e2e demo lab bench isf-compare dist lambda clean

build: ## the program, for this machine
	$(BUILD) -o shotglass ./cmd/shotglass

test: ## everything that needs Go alone; SKIPPED=FILE lists there what was skipped for want of a part, for `make e2e SKIPPED=FILE`
	$(GO) vet ./...
	$(GO) vet -tags aws ./e2e/awslab
	$(if $(SKIPPED),e2e/noskip.sh -list $(SKIPPED),$(GO) test -parallel 8) ./...  # what runs in parallel here mostly waits

race: ## the same under the race detector (needs a C compiler)
	$(GO) test -race ./...

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(STATICCHECK) -tags e2e ./e2e/...
	$(GO) run $(STATICCHECK) -tags aws ./e2e/awslab

fuzz: ## every fuzz target for FUZZTIME
	e2e/fuzz.sh $(FUZZTIME)

setup: ## the lab's parts: packages, guest image, LiME module, Volatility 3, an S3 server, an AWS emulator, age, GnuPG, compilers
	e2e/lab/setup.sh
	e2e/lab/s3server.sh
	e2e/lab/moto.sh
	e2e/lab/tools.sh
	e2e/lab/compilers.sh
	e2e/lab/avml.sh

e2e: setup ## real kernels, real LiME, real OpenSSH, Volatility 3
	e2e/lab/guests.sh
	e2e/lab/workstation.sh
	e2e/noskip.sh $(if $(SKIPPED),-only $(SKIPPED)) ./transport/... ./sink/... ./kernelmodules/... ./acquire/... ./cmd/...
	$(GO) test -tags e2e -count=1 -parallel 4 -timeout 75m ./e2e/...  # two guests work at once, more wait

demo: setup ## capture a real guest, verify the image
	e2e/demo.sh

lab: setup ## boot a guest to play with
	$(GO) run ./e2e/lab/run

bench: setup ## the whole path beside its peers, and the pipeline alone; BENCH=Capture/busy: a part; UPDATE=1: into docs/performance.md
	e2e/bench/setup.sh
	$(GO) test -run '^$$' -bench Fleet -benchtime 1x ./acquire
	$(GO) test -tags e2e -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -timeout 60m ./e2e/bench $(if $(UPDATE),-update)

isf-compare: ## our symbol files beside dwarf2json's, of one kernel: 283 MB to download, 4 GB of memory; UPDATE=1: into docs/symbols.md
	e2e/lab/setup.sh
	e2e/symbols.sh

dist: ## reproducible static binaries with checksums
	rm -rf dist && mkdir dist
	for p in $(PLATFORMS); do \
	  o=$${p%/*} a=$${p#*/}; e=; [ $$o = windows ] && e=.exe; \
	  GOOS=$$o GOARCH=$$a $(BUILD) -o dist/shotglass-$$o-$$a$$e ./cmd/shotglass || exit 1; \
	done
	cd dist && sha256sum shotglass-* > SHA256SUMS

lambda: ## reproducible zips of the function, with checksums
	rm -rf dist/lambda && mkdir -p dist/lambda
	for a in arm64 amd64; do \
	  GOOS=linux GOARCH=$$a $(BUILD) -tags lambda.norpc -o dist/lambda/bootstrap ./cmd/shotglass-lambda && \
	  $(GO) run ./cmd/shotglass-lambda/pack dist/lambda/bootstrap dist/lambda/shotglass-lambda-$$a.zip && rm dist/lambda/bootstrap || exit 1; \
	done
	cd dist/lambda && sha256sum *.zip > SHA256SUMS

clean:
	rm -rf dist shotglass
