# golib's tasks. `make help` lists them.
#
# PYTHON chooses the interpreter; each has its own virtual environment and Cargo target directory, so switching between
# interpreters rebuilds nothing. ARGS reaches the program that a task runs: make test-python ARGS="-k select --seed=7".

PYTHON ?= python3
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
ARGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

py := $(VENV)/bin/python
pip := $(py) -m pip --disable-pip-version-check
# Absolute: recipes and the tests' subprocesses run in other directories.
env := VIRTUAL_ENV=$(abspath $(VENV)) PATH=$(abspath $(VENV))/bin:$(PATH) PYO3_PYTHON=$(abspath $(py))
target_dir := target/$(patsubst .%,%,$(notdir $(VENV)))
# pip by which one environment fills another that was made without its own (see $(py)).
outer_pip ?= $(firstword $(wildcard .venv/bin/python) $(PYTHON)) -m pip --disable-pip-version-check

rust_sources := Cargo.toml $(wildcard Cargo.lock) $(shell find rust -type f \
	\( -name '*.rs' -o -name '*.c' -o -name '*.h' -o -name Cargo.toml \) -not -path '*/tests/*')

.PHONY: help
help: ## list the tasks
	@echo "usage: make TASK [PYTHON=python3.13] [ARGS=...]"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## The environment and the build -------------------------------------------------------------------------------------

# An interpreter without ensurepip gets its pip from another one.
$(py):
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 15) and "golib supports CPython 3.11 to 3.15, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV) > /dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	$(py) -c 'import pip' 2> /dev/null || $(outer_pip) -q --python $(py) install pip \
		|| { rm -rf $(VENV); echo "no pip for $(PYTHON): install the package python3-venv"; exit 1; }

# One mark for each dependency group of pyproject.toml.
groups := $(addprefix $(VENV)/.group-,build test lint docs demo packages bench bench-rust)
$(groups): $(VENV)/.group-%: pyproject.toml | $(py)
	$(pip) -q install 'pip>=25.1'
	$(pip) -q install --group $*
	@touch $@

# The first build for another interpreter starts from a copy of the default one's, most of which fits any interpreter.
$(VENV)/.build: $(rust_sources) pyproject.toml | $(VENV)/.group-build
	[ -e $(target_dir) ] || [ ! -e .venv/.build ] || cp -a --reflink=auto target/venv $(target_dir)
	$(env) CARGO_TARGET_DIR=$(target_dir) maturin develop --release --quiet
	@touch $@

.PHONY: build
build: $(VENV)/.build ## build golib and install it into the virtual environment, editable

.PHONY: demo
demo: build $(VENV)/.group-demo ## the claim with times, beside a loop, threads and asyncio; then the main job on real input (ARGS=--check)
	$(py) examples/python/compare.py $(if $(filter --check,$(ARGS)),--quick)
	$(py) examples/python/index_tree.py $(ARGS)

## Tests --------------------------------------------------------------------------------------------------------------

.PHONY: test
test: test-rust test-seam ## all tests: Rust, loom, the C seam, Python
# The model checker computes while the Python tests wait; its output follows theirs.
	nice $(MAKE) --no-print-directory loom > target/loom.log 2>&1 & loom=$$!; status=0; \
	trap "kill $$loom" INT TERM; \
	$(MAKE) --no-print-directory test-python || status=$$?; \
	wait $$loom || status=$$?; cat target/loom.log; exit $$status

.PHONY: test-rust
test-rust: ## the crate's tests, and its examples
	cargo test --quiet --package go-lib

.PHONY: test-aarch64
test-aarch64: ## the crate's tests, cross-built, under an emulator of the other CPU
	.ci/test-aarch64

.PHONY: test-seam-aarch64
test-seam-aarch64: ## as test-seam, on Debian's CPython for aarch64 under an emulator
	.ci/test-python-aarch64 --seam

.PHONY: test-python-aarch64
test-python-aarch64: .venv/.group-build .venv/.group-packages ## the Python tests there, which takes long: name files (VERSION=3.13; ARGS go to pytest)
	.ci/test-python-foreign aarch64 $(ARGS)

.PHONY: test-musl
test-musl: .venv/.group-build .venv/.group-packages ## the crate's tests with musl instead of glibc (ARGS=--short: what depends on the C library)
	.ci/test-musl $(ARGS)

.PHONY: test-python-musl
test-python-musl: .venv/.group-build .venv/.group-packages ## the Python tests with musl, on a CPython that is built for it (VERSION=3.13; ARGS go to pytest)
	.ci/test-python-foreign musl $(ARGS)

.PHONY: test-windows
test-windows: .venv/.group-build ## the tests for Windows, cross-built, under Wine: the crate's, then golib's (ARGS=--short: the crate's switch, stacks, channels and sockets)
	.ci/test-windows $(ARGS)
	$(if $(ARGS),,.ci/test-windows-python)

.PHONY: test-windows-python
test-windows-python: .venv/.group-build ## golib's part of test-windows (VERSIONS=3.13; ARGS go to pytest)
	.ci/test-windows-python $(ARGS)

.PHONY: wheel-windows
wheel-windows: .venv/.group-build ## wheels for Windows, cross-built, each tried under Wine (ARGS=3.13: only that)
	.ci/wheel-windows $(ARGS)

.PHONY: check-targets
check-targets: .venv/.group-packages ## the crate for other systems (ARGS=--link: down to programs)
	.ci/check-targets $(ARGS)

.PHONY: test-kqueue
test-kqueue: ## the crate's network tests on its kqueue backend (ARGS: a folder with a libkqueue.so of your own)
	.ci/test-kqueue $(ARGS)

.PHONY: asan
asan: ## the crate's tests under AddressSanitizer
	.ci/test-asan

.PHONY: memcheck
memcheck: ## the crate's tests under valgrind's memcheck (ARGS=--short: half a minute of them)
	.ci/test-memcheck $(ARGS)

.PHONY: loom
loom: ## the model checker on the scheduler's and the channels' own source
	RUSTFLAGS="--cfg golib_loom" CARGO_TARGET_DIR=target/loom \
		cargo test --quiet --release --manifest-path loom_tests/Cargo.toml
	$(PYTHON) loom_tests/table.py

.PHONY: test-python
test-python: build $(VENV)/.group-test ## the Python tests (ARGS="-k name --seed=n" goes to pytest)
	$(env) $(py) -m pytest $(ARGS)

.PHONY: test-ten
test-ten: build $(VENV)/.group-test ## the Python tests ten times, each in another order, until a run fails
	for run in {1..10}; do echo "== run $$run"; $(env) $(py) -m pytest $(ARGS); done

.PHONY: test-seam
test-seam: | $(py) ## the C shim alone, against the interpreter, with a scheduler of its own (needs no build)
	$(py) rust/golib-py/cpython/tests/run.py

.PHONY: examples
examples: build ## run every example
	for file in examples/rust/*.rs; do \
		name=$$(basename "$$file" .rs); echo "== $$file"; cargo run --quiet --package go-lib --example "$$name"; done
	for file in examples/python/*.py; do echo "== $$file"; $(py) "$$file"; done

## Quality ------------------------------------------------------------------------------------------------------------

python_sources := python tests examples benches docs .ci/summary
c_sources = $(shell find rust .ci -name '*.[ch]')
shell_scripts = $(shell grep -lr '^#!.*sh$$' .ci)

.PHONY: lint
lint: build $(VENV)/.group-lint $(VENV)/.group-test ## formatting, clippy, rustdoc, ruff, shellcheck, the sources' own rules, mypy --strict, stubs against the module
	cargo fmt --check
	cargo fmt --check --manifest-path loom_tests/Cargo.toml
	cargo fmt --check --all --manifest-path benches/rust/Cargo.toml
	$(env) cargo clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --package go-lib --package go-lib-macros
	$(env) clang-format --dry-run --Werror $(c_sources)
	$(env) ruff format --check $(python_sources)
	$(env) ruff check $(python_sources)
	$(env) shellcheck --severity=warning $(shell_scripts)
	$(py) tests/test_tidy.py
	$(env) mypy
	$(env) python -m mypy.stubtest golib --mypy-config-file pyproject.toml \
		$(if $(wildcard tests/stubtest-allowlist.txt),--allowlist tests/stubtest-allowlist.txt --ignore-unused-allowlist)

.PHONY: format
format: $(VENV)/.group-lint ## format the Rust, C and Python sources
	cargo fmt
	cargo fmt --manifest-path loom_tests/Cargo.toml
	cargo fmt --all --manifest-path benches/rust/Cargo.toml
	$(env) clang-format -i $(c_sources)
	$(env) ruff format $(python_sources)
	$(env) ruff check --fix $(python_sources)

## Documentation ------------------------------------------------------------------------------------------------------

.PHONY: docs
docs: build $(VENV)/.group-docs ## the documentation as web pages, in target/docs
	$(env) sphinx-build --quiet --fail-on-warning --builder html docs target/docs

.PHONY: test-site
test-site: docs $(VENV)/.group-test ## the built pages in a headless Chromium, if there is one: search, copy buttons, navigation
	$(env) GOLIB_SITE=$(abspath target/docs) $(py) -m pytest tests/test_site.py

## Measuring ----------------------------------------------------------------------------------------------------------

.PHONY: bench
bench: build $(VENV)/.group-bench ## golib beside its Python peers, in one run (ARGS="--workloads yield_,pingpong")
	$(py) benches/python/run.py $(ARGS)

.PHONY: bench-net
bench-net: build $(VENV)/.group-bench ## golib.net and patch() beside their peers, in one run (ARGS="--only echo,locks")
	$(py) benches/python/net.py $(ARGS)

.PHONY: bench-rust
bench-rust: $(VENV)/.group-bench-rust ## the crate beside Go and tokio, in one run
	$(env) $(py) benches/rust/run.py $(ARGS)

.PHONY: counts
counts: ## instructions of the crate's single operations, beside those last recorded (ARGS="--record", ARGS=switch)
	$(PYTHON) benches/rust/counts.py $(ARGS)

## Packages -----------------------------------------------------------------------------------------------------------

.PHONY: wheel
wheel: $(VENV)/.group-build ## an sdist, and a wheel built from it for this machine, in target/dist
	$(env) CARGO_TARGET_DIR=$(abspath $(target_dir)) maturin build --release --sdist --out target/dist

.PHONY: wheels
wheels: .venv/.group-build .venv/.group-packages ## an sdist, and manylinux and musllinux wheels for 3.11 to 3.15, each checked (ARGS="musllinux 3.13", ARGS="aarch64 3.13": only those)
	.ci/wheels $(ARGS)

.PHONY: check-packages
check-packages: .venv/.group-build .venv/.group-packages ## the sdist, one wheel and the crates' packages as their users meet them
	.ci/check-packages

.PHONY: release-check
release-check: .venv/.group-build .venv/.group-packages ## all that a release needs, and what is left for a person (ARGS=--quick: without building)
	.ci/release-check $(ARGS)

.PHONY: public-names
public-names: ## what the crate names for its users, beside public-names.txt (ARGS=--record: writes it)
	.ci/public-names $(ARGS)

.PHONY: check-msrv
check-msrv: | .venv/bin/python ## the oldest Rust that Cargo.toml names compiles everything
	.ci/check-msrv

.PHONY: clean
clean: ## remove what the tasks made
	rm -rf target .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find python -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
