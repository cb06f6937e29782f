# One command a chore. `make demo` and `make test` need python3.11 and a package index, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow lint docs clean

demo: .venv/.core
	@$(BIN)/whyray explain examples/phantom.png -o demo

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

test-slow: .venv/.dev
	$(BIN)/python -m pytest -m slow

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.dev
	$(BIN)/python docs/generate.py

clean:
	rm -rf .venv demo .pytest_cache .ruff_cache .mypy_cache

# torch first, pinned: an unpinned install of anything that wants torchvision would replace it.
.venv/.core: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  rm -rf .venv; echo "no virtual environment could be made: install python3.11 with venv (Debian: apt install python3.11-venv)"; exit 1; }
	$(PIP) torch
	$(PIP) -e .
	@touch $@

.venv/.dev: .venv/.core
	$(PIP) -e '.[dev]'
	@touch $@
