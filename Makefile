# Remote Flame: everything runs in .venv, which is brought up to date when pyproject.toml or the kernelspec changes.
#   make PYTHON=python3.12    uses another Python than python3

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SPEC   := $(wildcard kernelspec/*)

# Jupyter wants to be told that it's meant to run as root, as it does in a container.
LAB_ARGS := $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo lab test check format docs bench coverage clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/demo.stamp  ## run notebooks/quickstart.ipynb under the Remote Flame kernel and show what it gave
	$(BIN)/python notebooks/run_demo.py

lab: $(VENV)/demo.stamp  ## open JupyterLab with the notebooks
	$(BIN)/jupyter lab --ServerApp.root_dir=notebooks $(LAB_ARGS)

# Much of it is waiting, so three workers suit two cores. Whole files to each: fixtures of a module are made once, and
# tests that build on each other stay in order.
test: $(VENV)/dev.stamp  ## run every test (ARGS="tests/browser -k plot" picks some)
	$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

check: $(VENV)/dev.stamp  ## lint, formatting, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp  ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/dev.stamp  ## write what docs/magics.md says of each magic, from the magics themselves
	$(BIN)/python -m docs.magics

bench: $(VENV)/bench.stamp  ## measure beside the peers and write docs/performance.md (ARGS=--quick is for a first look)
	$(BIN)/python -m benchmarks $(ARGS)

coverage: $(VENV)/dev.stamp  ## run every test and report what they reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 3 --dist loadfile $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

clean:  ## remove the environment and all that was made
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache tests/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/venv.stamp: pyproject.toml $(SPEC)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Remote Flame needs Python 3.11 or newer, and \
	$(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

# uv takes a third of the time that pip does. pip knows of indexes and proxies that were configured for it alone, so it
# has the second try; dependency groups need a newer one than Python 3.11 brings along.
define install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --system-certs --compile-bytecode --editable . $(1) || \
	{ $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && $(BIN)/python -m pip install --quiet --editable . $(1); }
	@touch $@
endef

$(VENV)/demo.stamp: $(VENV)/venv.stamp
	$(call install,--group demo)

$(VENV)/bench.stamp: $(VENV)/venv.stamp
	$(call install,--group bench)

$(VENV)/dev.stamp: $(VENV)/venv.stamp
	$(call install,--group demo --group test --group lint)
