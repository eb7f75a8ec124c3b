# Every target sets up what it needs; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

MODULES := api deployments e2e gateway job migrations platform scheduler voicemill worker
PACKAGES := $(addprefix ./,$(addsuffix /...,$(MODULES)))
TOOLS := $(CURDIR)/.cache/tools
GOLANGCI_VERSION := v2.15.0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# grpcnotrace: without it gRPC links x/net/trace and with that text/template, which keeps 5.4 MB of methods alive.
GO_BUILD := CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "-s -w -X main.version=$(VERSION)"
GATEWAY_PROFILE := gateway/cmd/gateway/gateway.pgo
DIR ?=
FUZZTIME ?= 30s

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: ## Install the programs that running needs and that are missing
	@scripts/setup run

.PHONY: voices
voices: ## Install every neural voice of the catalogue (0.2 GB)
	@scripts/setup voices

.PHONY: setup-test
setup-test:
	@scripts/setup test

.PHONY: build-voicemill
build-voicemill: # what `voicemill up` needs; the gateway with its profile takes much longer to build
	@mkdir -p bin
	$(GO_BUILD) -o bin/voicemill ./voicemill/cmd/voicemill
	$(GO_BUILD) -o bin/voicemill-espeak ./worker/cmd/voicemill-espeak
	$(GO_BUILD) -o bin/voicemill-neural ./worker/cmd/voicemill-neural

.PHONY: build
build: build-voicemill ## Build the binaries into bin/
	$(GO_BUILD) -pgo=$(GATEWAY_PROFILE) -o bin/gateway ./gateway/cmd/gateway
	$(GO_BUILD) -o bin/scheduler ./scheduler/cmd/scheduler
	$(GO_BUILD) -o bin/worker ./worker/cmd/worker

.PHONY: demo
demo: setup build-voicemill ## Turn a book into audio and show it happening (KEEP=1 leaves it running)
	@bin/voicemill demo $(if $(KEEP),--keep)

.PHONY: test
test: setup-test ## Every test: race detector on, random order
	go test -race -shuffle=on -timeout=12m $(PACKAGES)
	go test -run='AllocatesNothing' -timeout=5m ./gateway/...

.PHONY: check
check: test lint arch modules generated ## Everything that CI runs

$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION):
	GOWORK=off GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/golangci-lint $@

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION) ## Lint and check the formatting of every module
	$< run --allow-parallel-runners $(PACKAGES)

.PHONY: arch
arch: ## Check the dependency direction; never cached
	go test -count=1 ./e2e/arch

.PHONY: modules
modules: ## Check that every go.mod is tidy and stands without go.work
	@for m in $(MODULES); do echo "$$m"; (cd $$m && GOWORK=off go mod tidy -diff && GOWORK=off go build ./...); done

.PHONY: generate
generate: ## Write the generated code again
	go generate $(PACKAGES)

.PHONY: generated
generated: generate ## Check that the generated code is what its sources say
	git diff --exit-code

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME each
	@scripts/fuzz $(FUZZTIME)

.PHONY: bench
bench: setup-test build ## Measure what docs/benchmarks.md claims
	@ls -l bin | awk 'NR > 1 {printf "%-18s %9.1f MB\n", $$NF, $$5 / 1e6}'
	cd gateway && go test -run='^$$' -bench=BenchmarkDurableAcceptance -benchtime=3s ./internal/intake
	cd scheduler && go test -run='^$$' -bench='^BenchmarkPlan' -benchtime=3s ./internal/manuscript ./internal/plan
	cd e2e && go test -run='^$$' -bench=BenchmarkGatewayStart -benchtime=10x ./fault
	go run ./e2e/cmd/benchbook
	go run ./e2e/cmd/benchspeech

.PHONY: bench-judge
bench-judge: setup-test ## Plant defects in what espeak-ng and a neural voice say, and count what the judge finds and what it holds bad that is good (TEXTS=n)
	VOICEMILL_JUDGE_TEXTS='$(or $(TEXTS),200)' go test -timeout=60m -count=1 -run=TestTheJudge -v ./worker/internal/engine/espeak ./worker/internal/engine/neural

.PHONY: bench-gateway
bench-gateway: build ## Hold the gateway against net/http, fasthttp and Netty (QUICK=1 for a short run, ONLY=part of a name)
	@scripts/setup bench
	$(GO_BUILD) -o bin/peer-nethttp ./e2e/peers/nethttp
	$(GO_BUILD) -o bin/peer-fasthttp ./e2e/peers/fasthttp
	cd e2e/peers/netty && mvn -q -B package
	go build -o bin/benchgateway ./e2e/cmd/benchgateway
	bin/benchgateway -quick=$(if $(QUICK),true,false) -only='$(ONLY)'
	@echo; echo 'durable acceptance: group commit and one publish for each job on the same disk'
	cd gateway && go test -run='^$$' -bench='BenchmarkDurableAcceptance|BenchmarkOneClient' -benchtime=$(if $(QUICK),300ms,2s) ./internal/intake
	@echo; echo 'bytes of frames and of JSON'
	cd api && go test -count=1 -run=TestFramesAreSmallerThanJSON -v ./jobproto | grep -o '[a-z].* ratio .*'

.PHONY: profile-gateway
profile-gateway: build ## Measure where the gateway spends its time, for the compiler, which builds bin/gateway with it
	@scripts/setup bench
	$(GO_BUILD) -o bin/peer-nethttp ./e2e/peers/nethttp
	$(GO_BUILD) -o bin/peer-fasthttp ./e2e/peers/fasthttp
	go build -o bin/benchgateway ./e2e/cmd/benchgateway
	rm -rf bin/profile && mkdir bin/profile
	bin/benchgateway -quick -rounds=1 -netty= -profile=bin/profile
	go tool pprof -proto bin/profile/*.pprof > $(GATEWAY_PROFILE)

.PHONY: bench-core
bench-core: setup-test ## Release and settle a million waiting segments of a thousand tenants over real NATS and Postgres, and 10,000 and 100,000 beside it
	cd scheduler && VOICEMILL_CORE_SEGMENTS='$(or $(SEGMENTS),10000 100000 1000000)' go test -count=1 -v -timeout=60m -run=TestCoreAtSize ./internal/release

.PHONY: bench-fair
bench-fair: ## Hold the order of release in virtual time against FIFO, round robin and SQS's fair queues, and send a corpus of 5,000 books through it
	cd scheduler && VOICEMILL_FAIR_SEEDS='$(or $(SEEDS),20)' VOICEMILL_FAIR_BOOKS='$(or $(BOOKS),5000)' go test -timeout=30m -run='^$$' -bench=BenchmarkTable -benchtime=1x ./internal/fair/fairsim

.PHONY: bench-streams
bench-streams: setup-test ## Send 50 documents of 200 MiB to a slow bucket and 50 files to slow readers at once: memory of the gateway, time of a status meanwhile
	VOICEMILL_STREAMS_CLIENTS=50 VOICEMILL_STREAMS_MIB=200 VOICEMILL_STREAMS_RATE=$(or $(RATE),16) VOICEMILL_STREAMS_ALONE=120 VOICEMILL_STREAMS_GIVE_WAY=1 go test -count=1 -v -timeout=40m ./e2e/streams

.PHONY: restart-under-load
restart-under-load: setup-test ## Replace the gateway 20 times and restart it 20 times under 500 requests a second and 200 watchers
	VOICEMILL_RESTART_ROUNDS=20 VOICEMILL_RESTART_RATE=500 VOICEMILL_RESTART_WATCHERS=200 go test -count=1 -v -timeout=40m ./e2e/restart

.PHONY: torture-gateway
torture-gateway: setup-test ## Ill-treat the gateway: smuggling, slow peers, cuts, floods, broken TLS; then look for what is left
	VOICEMILL_TORTURE_FULL=1 go test -count=1 -v -timeout=40m ./e2e/torture

.PHONY: disk-full
disk-full: setup-test ## Fill the disk of a rendering voicemill 20 times (root): no job succeeds with a file that was cut
	VOICEMILL_DISKFULL_ROUNDS=20 go test -count=1 -v -timeout=60m ./e2e/diskfull

.PHONY: encode-kills
encode-kills: setup-test ## Kill ffmpeg 20 times while books are encoded: nothing is lost and no file is wrong
	cd worker && VOICEMILL_ENCODE_KILLS=20 go test -count=1 -v -timeout=30m -run=KilledFfmpeg .

.PHONY: keep
keep: setup-test ## Delete at random, let time pass and kill everything while 10,000 jobs run: the bucket holds what rows name, and nothing else
	VOICEMILL_KEEP_JOBS=$(or $(JOBS),10000) go test -count=1 -v -timeout=60m ./e2e/keep

.PHONY: start-apart
start-apart: setup-test ## Start everything apart 20 times, all at once on empty servers
	VOICEMILL_APART_STARTS=20 go test -count=1 -v -timeout=40m ./e2e/apart

.PHONY: bench-loudness
bench-loudness: setup build-voicemill ## Measure chapters of three voices at ACX's level, as MP3, with ffmpeg alone (CHAPTERS=n)
	CHAPTERS=$(or $(CHAPTERS),20) scripts/bench-loudness

.PHONY: bench-books
bench-books: setup-test ## Have 50 books spoken at once by one `voicemill up` (BOOKS=n, BOOK=file.epub)
	VOICEMILL_BOOKS=$(or $(BOOKS),50) VOICEMILL_BOOK=$(abspath $(BOOK)) go test -count=1 -v -timeout=90m -run=TestManyBooksAtOnce ./e2e/book

.PHONY: bench-ear
bench-ear: setup-test ## Plant faults in a neural voice's reading of books and have the ear find them (BOOKS="a.epub b.epub c.epub", SEGMENTS=n)
	@test -n "$(BOOKS)" || { echo 'usage: make bench-ear BOOKS="a.epub b.epub c.epub"; the first sets the limits' >&2; exit 2; }
	@rm -rf bin/ear && mkdir -p bin/ear
	@n=0; for book in $(BOOKS); do n=$$((n + 1)); pandoc -t plain --wrap=none "$$book" -o "bin/ear/$$n-$$(basename "$$book").txt"; done
	cd worker && VOICEMILL_EAR_BOOKS='$(CURDIR)/bin/ear' VOICEMILL_EAR_SEGMENTS='$(or $(SEGMENTS),70)' go test -timeout=10h -run='^$$' -bench=BenchmarkPlantedFaults -benchtime=1x ./internal/listen/transcribe

.PHONY: callbacks-load
callbacks-load: setup-test ## Send 100 callbacks a second to 200 hosts, 20 of them dead, and 10,000 to hosts that refuse one in ten
	cd scheduler && VOICEMILL_CALLBACKS_FULL=1 go test -count=1 -v -timeout=30m -run='DeadHostsAmong|OrderHolds' ./internal/callback

.PHONY: model
model: setup-test ## Thousands of random histories and commands over real Postgres and NATS, and a cancel and each command against all that they can meet
	cd scheduler && VOICEMILL_MODEL_RUNS=$(or $(RUNS),3000) go test -count=1 -v -timeout=60m -run='WhateverHappensEverySegment|ACancelThatMeets|ACommandThatMeets' ./internal/release

.PHONY: leader-faults
leader-faults: setup-test ## Kill, hang, pause and cut off the leading scheduler 20 times each under load: nothing is lost, and another leads within 5 s
	VOICEMILL_FAULT_ROUNDS=20 go test -count=1 -v -timeout=60m -run Leader ./e2e/fault

.PHONY: nats-faults
nats-faults: setup-test ## Kill NATS with all of WORK 20 times under load, and the leader of a cluster's: work goes on within 2 s, and mostly 8 s
	VOICEMILL_FAULT_ROUNDS=20 go test -count=1 -v -timeout=60m -run WorkGoesOn ./e2e/fault
	VOICEMILL_FAULT_ROUNDS=20 go test -count=1 -v -timeout=60m -run WorkGoesOn ./e2e/apart

.PHONY: neural-faults
neural-faults: setup-test ## Kill the helpers of a neural voice 50 times under load: nothing is lost or doubled, and no segment is charged
	VOICEMILL_FAULT_ROUNDS=50 go test -count=1 -v -timeout=60m -run NeuralVoice ./e2e/single

.PHONY: own-faults
own-faults: setup-test ## Have an engine that the worker runs itself replaced and killed 10 times each under load (docs/engines.md says what fails)
	VOICEMILL_FAULT_ROUNDS=10 go test -count=1 -v -timeout=30m -run OwnedEngine ./worker

.PHONY: check-books
check-books: setup-test ## Compare the spoken text of every EPUB below DIR with what pandoc reads, word by word
	@test -n "$(DIR)" || { echo "usage: make check-books DIR=folder-of-epubs" >&2; exit 2; }
	@go run ./scheduler/cmd/checkbooks "$(DIR)"

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
