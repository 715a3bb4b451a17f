# Everything needs Python 3.11 or later and a package registry; each target sets up .venv by itself.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CHECKED := src tests bench examples
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	"$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$name" && break; done)

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench faults clean

help: ## Show what can be made.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Watch a year of flights teach a model, and its report being made.
	$(BIN)/tropism demo flights

test: check ## Check the code, then run all tests.
	$(BIN)/python -m pytest -q -m alone
	$(BIN)/python -m pytest -m "not alone and not faults" --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(INSTALLED) ## Check format, lint, types and layers.
	$(BIN)/ruff format --check $(wildcard $(CHECKED))
	$(BIN)/ruff check $(wildcard $(CHECKED))
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code, and mend what can be mended by itself.
	$(BIN)/ruff format $(wildcard $(CHECKED))
	$(BIN)/ruff check --fix $(wildcard $(CHECKED))

bench: $(INSTALLED) ## Measure, each against a peer.
	$(BIN)/python -m bench

faults: $(INSTALLED) ## Run every fault scenario on every engine, then a million simulated faults.
	$(BIN)/python -m pytest -q -m faults tests/faults
	$(BIN)/python -m tropism.testing.simulate --faults 1000000 --json

clean: ## Remove what was made, the environment and local data included.
	rm -rf $(VENV) .tropism build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Cannot set up: no Python 3.11 or later with venv and pip was found."; \
		echo "Install one (on Debian and Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python3"; \
		exit 1; fi
	@if ! "$(PYTHON)" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; then \
		echo "Cannot set up: $(PYTHON) is no Python 3.11 or later with venv and pip. Name another with PYTHON=."; \
		exit 1; fi
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@
