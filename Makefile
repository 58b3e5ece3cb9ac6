# The front door. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Outside the checkout, so that a fresh clone builds in minutes the second time.
CARGO_TARGET_DIR ?= $(HOME)/.cache/werkbank/target
export CARGO_TARGET_DIR

# What a run may need to finish; the end-to-end tests share two cores with a control plane.
E2E_TEST_ARGS ?=

.PHONY: help
help: ## Print this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: ## A churn model on real data: rolled back, then promoted, each promise checked (KEEP=1 leaves it running)
	@.ci/preflight cargo go python3
	cargo build --locked --package werkbank --package werkbank-e2e --bins
	cargo run --locked --quiet --package werkbank-e2e --bin workbench -- demo

.PHONY: test
# More of the simulation than the fast loop has time for, so much that its tests are built to be fast (`profile.simulation`).
test: UNIT = $(SIMULATION) && cargo test --locked --package werkbank --bins --test '*' && cargo test --locked --package werkbank --doc
test: export LOOKS = 100
test: export SWEEP = 47
test: export SIDES = 4
test: export SEEDS = 1000
test: preflight check deny e2e ## Everything CI runs: check (with 1,000 simulated schedules), licences, chart and end-to-end tests

# Said before anything is built, not after twenty minutes of it.
.PHONY: preflight
preflight:
	@.ci/preflight cargo go node python3

.PHONY: check
check: ## The fast loop: format, clippy, unit tests, architecture, golden plans (no control plane)
	@.ci/preflight cargo
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	$(UNIT)

UNIT = cargo test --locked --package werkbank
SIMULATION = cargo test --profile simulation --locked --package werkbank --lib
# How many schedules, and the first seed.
SEEDS ?= 1000
FIRST ?= 0

.PHONY: simulation
simulation: ## Every death of every scenario in memory, 1,000 schedules, every small world
	@.ci/preflight cargo
	LOOKS=100 SWEEP=1 SEEDS=1000 $(SIMULATION) sim::tests -- --nocapture
	EXPLORE=1 $(SIMULATION) explore -- --nocapture

.PHONY: proof
proof: ## The long evidence (hours): writes that come late or twice and 10,000 schedules, 20,000 rollouts of each statistic, every crash on the real control plane, 5 GiB verified
	@.ci/preflight cargo go python3
	cargo build --locked --package werkbank --package werkbank-e2e --bins
	cargo test --locked --package werkbank-e2e --test fetch_s3 -- five_gibibytes --ignored --nocapture
	cargo test --locked --package werkbank-e2e --test canary -- crashes::every --ignored --nocapture
	$(SIMULATION) proof_of -- --ignored --nocapture --test-threads=1
	LOOKS=100 SWEEP=1 SIDES=4 SEEDS=10000 $(SIMULATION) sim::tests -- --nocapture
	EXPLORE=1 $(SIMULATION) explore -- --nocapture
	$(MAKE) mutants

.PHONY: mutants
mutants: ## 150 mistakes in decide/, one at a time: how many its tests catch (an hour and a half; SAMPLE=20 for fewer)
	@.ci/preflight cargo python3
	@.ci/mutants

.PHONY: soak
soak: ## SEEDS schedules, from the seed FIRST on
	@.ci/preflight cargo
	SEEDS=$(SEEDS) FIRST=$(FIRST) $(SIMULATION) sim::tests::whatever -- --nocapture

.PHONY: deny
deny: ## Licences, banned crates and sources of everything that is linked
	@.ci/preflight cargo
	@.ci/deny

.PHONY: e2e
e2e: preflight ## Chart and end-to-end tests on the real control plane
	cargo build --locked --package werkbank --package werkbank-e2e --bins
	python3 -m unittest discover --quiet --start-directory examples/churn
	cargo test --locked --package werkbank-e2e $(E2E_TEST_ARGS)

# How many deployments the benchmark changes together, and who accepts their routes: writer or envoy.
N ?= 1000
ACCEPTANCE ?= writer
BENCH = $(CARGO_TARGET_DIR)/release/workbench bench

.PHONY: bench
bench: bench-rollouts bench-audit bench-log bench-rest ## All that is measured, one after the other (two hours; N=100 for fewer)

.PHONY: bench-rollouts
bench-rollouts: bench-build ## What 1,000 rollouts cost beside the floor, and how soon 100 breaches and 50 revoked entries are weight 0 (N=100 for fewer)
	$(BENCH) --deployments $(N) --acceptance $(ACCEPTANCE)
	$(BENCH) --part breaches --deployments 10 --acceptance envoy
	$(BENCH) --part revocations --deployments 10 --acceptance envoy

.PHONY: bench-rest
bench-rest: bench-build ## What 10,000 deployments cost at rest, and what a restart does (half an hour; N=1000 for fewer)
	$(BENCH) --part rest --deployments $(if $(filter file,$(origin N)),10000,$(N))

.PHONY: bench-audit
bench-audit: bench-build ## How fast the audit log takes entries, and how long a million take to be verified
	$(BENCH) --part audit --deployments $(if $(filter file,$(origin N)),1000000,$(N))

.PHONY: bench-log
bench-log: bench-build ## What the audit log costs a rollout: the same with it and without it (N=100 for fewer)
	$(BENCH) --part log-cost --deployments $(N) --acceptance $(ACCEPTANCE)

.PHONY: bench-build
bench-build:
	@.ci/preflight cargo go python3
	cargo build --release --locked --package werkbank --package werkbank-e2e --bin werkbank --bin workbench --bin model-server

.PHONY: generated
generated: crds ## Rewrite what is generated: CRDs, roles, golden files (review the difference)
	@.ci/preflight cargo go python3
	UPDATE=1 cargo test --locked --package werkbank
	UPDATE=1 cargo test --locked --package werkbank-e2e --test chart --test argocd

.PHONY: crds
crds: ## Rewrite crds/ from the Rust types, and the chart's copies of them
	@.ci/preflight cargo
	UPDATE=1 cargo test --locked --package werkbank crds
	UPDATE=1 cargo test --locked --package werkbank --test chart
