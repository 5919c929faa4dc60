# Every chore of the project. `make help` lists them.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the broker as it is shipped (target/release/cofferdam)
	cargo build --release --locked

.PHONY: run
run: ## Start the broker on its embedded defaults, data in ./data
	cargo run --release --locked

.PHONY: test
test: needs peer ## Install what the tests need where it is missing, then run all of them
	scripts/with-postgres.sh $(MAKE) --no-print-directory test-rust test-clients

.PHONY: test-rust
test-rust: ## Run the Rust tests; where there is PostgreSQL, also those that need more than Rust
	cargo test --locked -- $(if $(COFFERDAM_TEST_POSTGRES),--include-ignored)

# Beside the broker's own build, which shares nothing with it.
PEER := $(abspath $(TARGET_DIR))/rumqttd-peer
export COFFERDAM_TEST_RUMQTTD := $(PEER)/debug/rumqttd-peer

.PHONY: peer
peer: ## Build the broker that tests/differential compares with
	cargo build --locked --manifest-path tests/rumqttd-peer/Cargo.toml --target-dir $(PEER)

.PHONY: test-peers
test-peers: peer ## Compare with mosquitto and rumqttd what clients observe
	cargo test --locked --test differential -- --include-ignored --nocapture

.PHONY: test-clients
test-clients: ## Run the tests with real clients and components against a debug build
	cargo build --locked
	cd tests/clients && COFFERDAM_BIN="$(abspath $(TARGET_DIR))/debug/cofferdam" npm test

.PHONY: needs
needs: ## Install what the tests of real components need (Debian packages when root)
	scripts/install-test-needs.sh

.PHONY: bench-journal
bench-journal: ## Measure what keeping a message costs, and how fast the journal is read back
	cargo bench --locked --bench journal

.PHONY: bench-durability
bench-durability: ## Measure acknowledgements at each durability, beside mosquitto, and starts
	cargo bench --locked --bench durability

.PHONY: bench-audit
bench-audit: ## Measure what recording 20,000 connects and disconnects costs the messages meanwhile
	cargo build --release --locked --features unaudited --target-dir "$(TARGET_DIR)/unaudited"
	cargo bench --locked --bench audit -- --without "$(abspath $(TARGET_DIR))/unaudited/release/cofferdam"

.PHONY: bench-fairness
bench-fairness: ## Measure what a noisy neighbour does to another team
	cargo bench --locked --bench fairness

SECONDS ?= 60
.PHONY: fuzz
fuzz: ## Fuzz: each target for SECONDS (60)
	scripts/fuzz.sh run $(SECONDS)

.PHONY: soak
soak: ## Simulate the core with new seeds for SECONDS (60)
	cargo test --release --locked --test simulation -- --from $$(date +%s) --seconds $(SECONDS)

.PHONY: fuzz-corpus
fuzz-corpus: ## Minimise what fuzzing found into fuzz/corpus
	scripts/fuzz.sh corpus

.PHONY: check
check: ## Formatting, lints, and what may be in the dependency tree
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	scripts/install-cargo-deny.sh
	cargo deny --locked check bans licenses sources

.PHONY: fmt
fmt: ## Format the code
	cargo fmt

.PHONY: secrets
secrets: ## Make the passwords that docker-compose.yml reads, in ./secrets
	scripts/make-secrets.sh

.PHONY: clean
clean: ## Remove what was built and installed for tests; ./data and ./secrets stay
	cargo clean
	rm -rf tests/clients/node_modules tests/clients/.venv
