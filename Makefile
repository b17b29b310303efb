# What a newcomer or a contributor runs. `make help` lists it.

CARGO     ?= cargo
# The side-by-side measurement: its directory, what it measures, and against whom.
ARENA     ?= ../shared/arena/perf
WORKLOADS ?= W1 W3 W4 W5 W7a
PEERS     ?= project,haproxy,nginx_debian,nghttpx
RESULTS   ?= target/arena
# The storm of drains: how many, and the first seed. A seed that failed is run
# alone by DRAINS=1 SEED=n.
DRAINS    ?= 1000
SEED      ?= 1

# Which browser tests.
PAGES     ?= pure.test.js access.test.js drain.test.js link.test.js crowd.test.js

# The attacks: how long each lasts, how many requests an honest client makes in a
# second, and which of them, by a part of the name.
ABUSE_SECONDS ?= 5
ABUSE_RATE    ?= 20
ABUSE_ONLY    ?=

# The faults of servers: how many rolling deploys, and which rows, by a part of the
# name. More of it is said by the environment: see benches/faults/main.rs.
DEPLOYS     ?= 50
FAULTS_ONLY ?=

# How many drains `make soak` simulates.
SEEDS     ?= 1000000
# How many seconds each of its fuzz tests takes.
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo test test-full test-prometheus test-browser screenshots soak bench bench-scrape bench-balance instructions instructions-write drain-storm abuse faults check arena release needs needs-lints needs-prometheus needs-nginx needs-browser needs-valgrind

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 16

demo: needs ## embedded backends, mixed load, a live drain and its receipt
	@$(CARGO) build
	@$(CARGO) run --quiet -- demo

test: needs ## every test that needs no program of others
	$(CARGO) test

# What `make test` leaves to those who have the programs that it needs: add to it.
FULL = test-prometheus test-browser instructions

test-full: test $(FULL) ## every test, also those that need programs of others

test-prometheus: needs needs-prometheus ## rules and dashboard, against a real Prometheus
	$(CARGO) test --test prometheus

test-browser: needs needs-browser ## the live page, in a headless Chromium
	$(CARGO) build --bin ebbtide
	cd tests/browser && npm ci --silent && node --test --test-concurrency=1 $(PAGES)

screenshots: needs needs-browser ## the pictures of the live page in docs/images, anew
	$(CARGO) build --bin ebbtide
	cd tests/browser && npm ci --silent && node screenshots.js

soak: needs ## a million simulated drains, or SEEDS of them, and fuzzed readers; a bad seed is named
	EBBTIDE_SEEDS=$(SEEDS) $(CARGO) test --profile soak --test sim every_seed -- --nocapture
	EBBTIDE_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --profile soak --lib --test config --test e2e fuzz:: -- --test-threads=1

bench: needs ## exit overhead of a drain, in milliseconds
	$(CARGO) bench --bench drain

bench-scrape: needs ## CPU time of a scrape with 10,000 connections open
	$(CARGO) bench --bench scrape

instructions: needs needs-valgrind ## what a request costs, held to benches/instructions/figures.toml
	$(CARGO) bench --bench instructions

instructions-write: needs needs-valgrind ## write these figures anew
	INSTRUCTIONS_WRITE=1 $(CARGO) bench --bench instructions

bench-balance: needs ## how even and how quick the choice of a server is, beside pingora's own
	$(CARGO) bench --bench balance

drain-storm: needs ## DRAINS drains from SEED on, under load: nothing may be lost
	STORM_DRAINS=$(DRAINS) STORM_SEED=$(SEED) $(CARGO) bench --bench storm

abuse: needs ## each attack for ABUSE_SECONDS, beside honest clients, and what it cost them
	ABUSE_SECONDS=$(ABUSE_SECONDS) ABUSE_RATE=$(ABUSE_RATE) ABUSE_ONLY="$(ABUSE_ONLY)" \
	  $(CARGO) bench --bench abuse

faults: needs needs-nginx ## servers that deploy, die, flap or vanish, and what clients see of it
	FAULTS_DEPLOYS=$(DEPLOYS) FAULTS_ONLY="$(FAULTS_ONLY)" $(CARGO) bench --bench faults

check: needs needs-lints ## format, lints, documentation and manifests, all warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --test prometheus -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps
	$(CARGO) test --quiet --test config -- kubernetes:: systemd::

release: needs ## the optimised binary, target/release/ebbtide
	$(CARGO) build --release

arena: release ## CPU and rate beside other proxies (WORKLOADS, PEERS, RESULTS)
	@test -x "$(ARENA)/run.py" || { echo "make arena: no $(ARENA)/run.py; set ARENA to its directory" >&2; exit 1; }
	PROJECT_ADAPTER="$(CURDIR)/benches/arena/adapter.py" PROJECT_BIN="$(CURDIR)/target/release/ebbtide" \
	  "$(ARENA)/run.py" $(WORKLOADS) --peers $(PEERS) --out "$(abspath $(RESULTS))"
	"$(ARENA)/report.py" "$(abspath $(RESULTS))"

# What $missing names is installed on Debian and its kin, elsewhere it is said.
# RUNLEVEL: a service that a package brings along is not started.
define install
test -z "$$missing" && exit 0; \
	command -v apt-get >/dev/null 2>&1 || { echo "make: install these first:$$missing" >&2; exit 1; }; \
	as_root=; \
	if [ "$$(id -u)" != 0 ]; then \
	  command -v sudo >/dev/null 2>&1 || { echo "make: as root, run: apt-get install$$missing" >&2; exit 1; }; \
	  as_root=sudo; \
	fi; \
	echo "make: installing$$missing" >&2; \
	$$as_root apt-get update -qq && $$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	  apt-get install -y -qq --no-install-recommends $$missing >/dev/null
endef

# Building needs Rust, cmake (zlib-ng) and a C compiler (zlib-ng, AWS-LC).
needs:
	@command -v $(CARGO) >/dev/null 2>&1 || { echo "make: no $(CARGO); install Rust from https://rustup.rs" >&2; exit 1; }; \
	missing=; \
	command -v cmake >/dev/null 2>&1 || missing="$$missing cmake"; \
	command -v cc >/dev/null 2>&1 || missing="$$missing gcc"; \
	echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1 || missing="$$missing libc6-dev"; \
	$(install)

# The tests run a Prometheus of their own.
needs-prometheus:
	@missing=; \
	command -v prometheus >/dev/null 2>&1 && command -v promtool >/dev/null 2>&1 || missing=" prometheus"; \
	$(install)

# The faults run nginx themselves.
needs-nginx:
	@missing=; \
	test -x /usr/sbin/nginx -o -n "$$FAULTS_NGINX" || missing=" nginx-light"; \
	$(install)

needs-browser:
	@missing=; \
	command -v chromium >/dev/null 2>&1 || missing="$$missing chromium"; \
	command -v node >/dev/null 2>&1 || missing="$$missing nodejs"; \
	command -v npm >/dev/null 2>&1 || missing="$$missing npm"; \
	$(install)

needs-valgrind:
	@missing=; \
	command -v valgrind >/dev/null 2>&1 || missing=" valgrind"; \
	$(install)

needs-lints:
	@for component in fmt clippy; do \
	  $(CARGO) $$component --version >/dev/null 2>&1 && continue; \
	  command -v rustup >/dev/null 2>&1 || { echo "make: cargo $$component is missing" >&2; exit 1; }; \
	  test $$component = fmt && rustup component add rustfmt || rustup component add $$component; \
	done
