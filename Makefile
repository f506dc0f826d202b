# On a fresh machine: `make demo` sets up and shows the main job; `make test` sets up and passes every test.
PYTHON ?= python3
BIN := .venv/bin
# Two cores are the smallest machine this is meant for.
JOBS ?= 2

.PHONY: help setup demo check test test-live soak generate bench docs clean

help:
	@echo "make demo       set up, start the emulator with a fleet in it, show the main job"
	@echo "make test       set up, then lint, types, generated files, every test"
	@echo "make check      what each commit passes: lint, types, generated files, unit tests"
	@echo "make test-live  the contract suite on the server of OMNI_ENDPOINT"
	@echo "make soak       watches and caches under 2,000 seeded runs of bad networks and servers, properties with new examples"
	@echo "make generate   rewrite the generated files from their sources"
	@echo "make bench      figures beside raw grpcio, in the same run, and what the emulator bears"
	@echo "make docs       the reference, from docstrings, into site/"
	@echo "make setup      the development environment in .venv"

# What a user needs, and what a developer needs besides: the demo does not wait for linters.
.venv/runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/dev: .venv/runtime
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	@touch $@

setup: .venv/dev

demo: .venv/runtime
	@$(BIN)/python tools/demo.py

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/run_pyright.py
	$(BIN)/python tools/generate.py --check
	$(BIN)/python -m pytest -q -n $(JOBS) tests/unit

test: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/run_pyright.py
	$(BIN)/python tools/generate.py --check
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --cov --cov-report= tests
	$(BIN)/python tools/check_coverage.py
	$(BIN)/python -m pytest -q -n $(JOBS) tests/leaks

test-live: .venv/dev
	@test -n "$$OMNI_ENDPOINT" || { echo "set OMNI_ENDPOINT and OMNI_SERVICE_ACCOUNT_KEY first"; exit 1; }
	$(BIN)/python -m pytest tests/contract tests/golden -m live

soak: .venv/dev
	$(BIN)/python tests/truth/soak.py
	$(BIN)/python -m pytest -q -n $(JOBS) -m hypothesis --hypothesis-profile wide tests

generate: .venv/dev
	$(BIN)/python tools/generate.py
	$(BIN)/python tools/generate_coverage.py
	$(BIN)/python tools/generate_template_schema.py

bench: .venv/dev
	$(BIN)/python tests/perf/bench_state.py
	$(BIN)/python tests/perf/bench_cache.py
	$(BIN)/python tests/perf/bench_emulator.py
	$(BIN)/python tests/perf/bench_memory.py
	$(BIN)/python tests/perf/bench_templates.py
	$(BIN)/python tests/perf/bench_fleet.py

docs: .venv/dev
	$(BIN)/python tools/build_docs.py

clean:
	rm -rf .venv site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
