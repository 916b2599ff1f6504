# Each target makes .venv with the packages that it needs, and installs them again if setup.cfg changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN = $(BIN)/python

.PHONY: train test test-all lint notebooks docs docs-links bench reliability clean

train: $(VENV)/.run
	$(RUN) train.py --optimizer adam $(ARGS)

test: $(VENV)/.test
	$(RUN) -m pytest -m "not slow" $(ARGS)

test-all: $(VENV)/.test
	$(RUN) -m pytest $(ARGS)

notebooks: $(VENV)/.notebooks
	$(RUN) tests/execute_notebooks.py

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build/html

docs-links: $(VENV)/.docs
	$(RUN) -m sphinx -W --keep-going -b linkcheck docs docs/_build/linkcheck

bench: $(VENV)/.bench
	$(RUN) -m benchmarks.speed $(ARGS)
	$(RUN) -m benchmarks.drift
	$(RUN) -m benchmarks.attempts
	$(RUN) -m benchmarks.steps
	$(RUN) -m benchmarks.startup
	$(RUN) -m benchmarks.features

reliability: $(VENV)/.reliability
	$(RUN) -m benchmarks.reliability $(ARGS)

clean:
	rm -rf $(VENV) build dist docs/_build docs/notebooks docs/api/generated *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(RUN):
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"feedforward needs Python 3.11 or later, but $(PYTHON) is {sys.version.split()[0]}: name another with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(RUN) setup.cfg pyproject.toml
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.test $(VENV)/.lint $(VENV)/.bench $(VENV)/.notebooks $(VENV)/.docs $(VENV)/.reliability: $(VENV)/.%: $(RUN) setup.cfg pyproject.toml
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@
