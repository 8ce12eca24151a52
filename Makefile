# Two commands are enough on a fresh machine: `make run` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.PHONY: run dev demo test lint fuzz bench bench-peers clean

run: $(VENV)/run.stamp  ## serve on HOST:PORT (0.0.0.0:11434) with the key in .env
	$(BIN)/python -m ollama_proxy

dev: $(VENV)/run.stamp  ## the development server, which reloads on changes
	@FLASK_SKIP_DOTENV=1 $(BIN)/python tools/dev.py

demo: $(VENV)/dev.stamp  ## the main job without a key or network, against the bundled simulator
	@$(BIN)/python tools/demo.py

test: $(VENV)/dev.stamp  ## the whole test suite, on two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile

fuzz: $(VENV)/dev.stamp  ## 5000 generated requests to all three APIs, others each time, and bodies of a megabyte
	FUZZ_REQUESTS=5000 $(BIN)/python -m pytest -q -s tests/api/test_fuzz.py
	STUFFED_KB=1024 $(BIN)/python -m pytest -q tests/unit/limits/test_stuffed.py

bench: $(VENV)/dev.stamp  ## how fast it is, beside nginx and (after bench-peers) LiteLLM; three minutes at most
	$(BIN)/python -m bench

bench-peers:  ## install what the benchmark compares with, apart from everything else
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check "litellm[proxy]==1.106.2"

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

$(VENV)/run.stamp: requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
