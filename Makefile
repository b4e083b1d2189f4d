# Two commands: `make demo` and `make test`. Each makes .venv and installs the package at its pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test lint types bench clean

demo: $(VENV)/.installed
	$(BIN)/graphsparse demo

test: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n auto --dist worksteal

bench: $(VENV)/.tested
	$(BIN)/python benchmarks/liveness.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The CPU build of torch is tried first: on Linux the plain wheel asks for gigabytes of CUDA packages.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
