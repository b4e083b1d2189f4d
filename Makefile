# Two commands: `make demo` and `make test`. Each makes .venv and installs the package at its pinned versions.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The CPU build of torch: on Linux the plain wheel asks for gigabytes of CUDA packages. TORCH_INDEX= takes the plain one.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# The pages and the reference as a site; a warning is an error.
SITE := $(BIN)/python -m sphinx -q -W --keep-going -b html docs build/site

.PHONY: demo test docs bench clean

demo: $(VENV)/.installed
	$(BIN)/graphsparse demo

test: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(SITE)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal

docs: $(VENV)/.tested
	$(SITE)

bench: $(VENV)/.tested
	$(BIN)/python benchmarks/liveness.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# setuptools and wheel come first and builds are not isolated, so that constraints.txt holds for them too. The step for
# torch may fail (no way to that index) and then says nothing: the next one takes torch from where pip looks by itself.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt setuptools wheel
	$(if $(TORCH_INDEX),$(PIP) install -qqq --no-deps --retries 1 --timeout 15 --extra-index-url $(TORCH_INDEX) -c constraints.txt torch || true)
	$(PIP) install -q --no-build-isolation -c constraints.txt -e .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) install -q --no-build-isolation -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
