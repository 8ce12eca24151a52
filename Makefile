# Two commands are enough on a fresh machine: `make run` and `make test`. `make` alone lists all of them.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# What `make coverage` runs: TESTS=tests is the whole suite.
TESTS  ?= tests/unit

.PHONY: help run dev demo test prove fuzz coverage lint clients vendor bench bench-peers clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/run.stamp  ## serve on HOST:PORT (0.0.0.0:11434) with the key in .env
	$(BIN)/python -m ollama_proxy

dev: $(VENV)/run.stamp  ## the development server, which reloads on changes
	@$(BIN)/python -m ollama_proxy serve --debug

demo: $(VENV)/dev.stamp  ## the main job without a key or network, against the bundled simulator
	@$(BIN)/python -m simulator.demo

test: $(VENV)/dev.stamp  ## the whole test suite but its long proofs, on two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not prove"

prove: $(VENV)/dev.stamp  ## the long proofs: thousands of generated requests and failing chats
	$(BIN)/python -m pytest -n 2 --dist loadfile -m prove || test $$? -eq 5  # 5: there are none

fuzz: $(VENV)/dev.stamp  ## 5000 generated requests and 4000 broken answers, others each time (FUZZ_REQUESTS, FUZZ_ANSWERS)
	$(BIN)/python -m pytest -q -s -m prove tests/api/test_fuzz.py tests/api/test_upstream_fuzz.py
	STUFFED_KB=1024 $(BIN)/python -m pytest -q tests/unit/limits/test_stuffed.py

coverage: $(VENV)/dev.stamp  ## lines and branches that tests/unit reaches, by package (TESTS=tests: that all tests reach)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not prove" $(TESTS) \
	    --cov --cov-report=html --cov-report=json:htmlcov/coverage.json
	@$(BIN)/python -m tests.coverage_table htmlcov/coverage.json

clients:  ## copy what is said of each client from the package into docs/clients.md
	$(PYTHON) scripts/clients.py

vendor: $(VENV)/run.stamp  ## fetch what the page takes from npm, as scripts/vendor.py pins it
	$(BIN)/python scripts/vendor.py

bench: $(VENV)/dev.stamp  ## how fast it is, beside nginx and (after bench-peers) LiteLLM; three minutes at most
	$(BIN)/python -m bench

bench-peers:  ## install what the benchmark compares with, apart from everything else
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check "litellm[proxy]==1.106.2"

lint: $(VENV)/dev.stamp  ## style, types, and which module may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

$(VENV)/run.stamp: requirements.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .  # the command ollama-proxy
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:  ## remove .venv, caches and reports
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache htmlcov
