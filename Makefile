# Needs Python 3.11 or newer and make; everything else is set up in .venv from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests wait for real clocks about a third of the time: one worker more than cores.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)

.PHONY: help demo test test-fast test-long lint bench-mls bench-jr2 bench-service faults fuzz fuzz-corpus walk-containers lock clean

help:  ## what this file can do
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Pourparler needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3"; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps -e . ; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --no-deps -e . ; \
	fi
	@touch $@

demo: $(STAMP)  ## the main job: four devices talk off the record through a blind service
	@$(BIN)/pourparler demo $(ARGS)

test: $(STAMP)  ## the tests (a quarter of an hour on two cores); the longest are in test-long
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

test-fast: $(STAMP)  ## without the tests that take longer than ten seconds
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-long: $(STAMP)  ## every test, also those that `make test` leaves out
	POURPARLER_LONG=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(STAMP)  ## ruff, mypy strict, the layers of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench-mls: $(STAMP)  ## MLS beside the raw primitives and beside mls-rs
	$(BIN)/python tests/bench/bench_mls.py $(ARGS)

bench-jr2: $(STAMP)  ## a joint release for 2 to 20 parties, beside the raw calls
	$(BIN)/python tests/bench/bench_jr2.py $(ARGS)

bench-service: $(STAMP)  ## the service beside an empty relay (the whole: ARGS="--matrix --peers")
	$(BIN)/python tests/bench/bench_service.py $(ARGS)

faults: $(STAMP)  ## a hundred runs of load and faults, each with its seed (half an hour)
	$(BIN)/python -m tests.faults $(ARGS)

fuzz: $(STAMP)  ## a coverage-guided fuzzer on every parser (half an hour; ARGS="--seconds 300 --only mls")
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet 'atheris>=3' || uv pip install --quiet --python $(BIN)/python 'atheris>=3'
	$(BIN)/python -m tests.fuzz $(ARGS)

fuzz-corpus: $(STAMP)  ## record anew what parsers are given in real runs
	$(BIN)/python -m pytest -q -n 0 -p tests.fuzz.recording --timeout 900 tests/system/release/test_published_together.py \
	  tests/clients/test_release_keys.py tests/clients/test_verify.py tests/clients/test_charter_commands.py \
	  tests/service/test_attachments.py tests/service/test_board.py tests/crypto/test_attachment.py \
	  tests/crypto/jr2/test_jr2_masks.py tests/policies/test_payload.py tests/policies/fold/test_decoding.py \
	  tests/system/sounding/test_sounded_together.py tests/service/test_tally.py

WALK := 'podman-compose>=1.6' 'kubernetes-validate>=1.37'

walk-containers: $(STAMP)  ## build and run deploy/'s containers for real (root, podman, debootstrap; five minutes)
	@$(BIN)/python -c 'import podman_compose, kubernetes_validate' 2>/dev/null || $(BIN)/python -m pip install --quiet $(WALK) || uv pip install --quiet --python $(BIN)/python $(WALK)
	POURPARLER_LONG=1 $(BIN)/python -m pytest -q tests/deploy/containers tests/deploy/test_kubernetes.py $(ARGS)

LOCKED := uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --no-annotate -q

lock: $(STAMP)  ## write requirements.lock anew, and its parts for running and for building (needs uv)
	$(LOCKED) --all-extras --upgrade pyproject.toml -o requirements.lock
	$(LOCKED) --extra service --extra postgres -c requirements.lock pyproject.toml -o deploy/service.lock
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	  $(LOCKED) -c requirements.lock - -o deploy/build.lock

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
