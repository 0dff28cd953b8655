# make demo      compare four controllers on a Gwangju junction, in an environment of its own
# make install   .venv with everything: .venv/bin/bitgoeul
# make test      install, then the tests
# make lint types test   what is asked of every change
# PYTHON=python3.12 chooses the Python (3.11 or newer) that new environments are made with.

PYTHON ?= python3
VENV   := .venv
DEMO   := .venv-demo
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo install test lint types check-long mutations bench clean check-python

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

demo: $(DEMO)/.stamp
	$(DEMO)/bin/bitgoeul compare bukmun_5 --controllers fixed,gwangju5,eta,learned \
	  --hour peak --minutes 60 --seeds 8 --out out/demo

install: $(VENV)/.stamp
	@echo "ready: $(VENV)/bin/bitgoeul --help"

test: $(VENV)/.stamp
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal -m "not long"

lint: $(VENV)/.stamp
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/lint-imports

types: $(VENV)/.stamp
	$(VENV)/bin/mypy

# Every test, with many more hypothesis examples: hours.
check-long: $(VENV)/.stamp
	BITGOEUL_HYPOTHESIS=long $(VENV)/bin/python -m pytest -n 2 --dist worksteal

# Deliberate faults in what safety rests on: do the tests notice each? Writes docs/mutations.md.
mutations: $(VENV)/.stamp
	$(VENV)/bin/python tests/mutations/check.py --resume

bench: $(VENV)/.stamp
	$(VENV)/bin/bitgoeul bench env
	$(VENV)/bin/bitgoeul bench core

# Outputs and caches. The environments stay: rm -r .venv .venv-demo
clean:
	rm -rf build dist out/demo htmlcov .coverage .coverage.* \
	  .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find controller envs training sim_scenarios tests benchmarks examples -name __pycache__ -type d -prune -exec rm -r {} +

# Made anew or brought up to date when pyproject.toml or constraints.txt changed.
$(DEMO)/.stamp: EXTRAS := sim
$(VENV)/.stamp: EXTRAS := sim,train,dev
$(DEMO)/.stamp $(VENV)/.stamp: pyproject.toml constraints.txt | check-python
	@echo "installing bitgoeul[$(EXTRAS)] into $(@D)"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D) || { rm -rf $(@D); \
	  echo "error: $(PYTHON) -m venv failed; install Python's venv module (Debian: python3-venv)" >&2; exit 2; }
	@$(@D)/bin/python $(PIP_INSTALL) -e '.[$(EXTRAS)]'
	@touch $@

check-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is missing or older than 3.11; say for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 2; }
