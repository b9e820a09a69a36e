# Daytwo: everything a person types. `make help` lists it. Needs Python 3.11 and make, nothing else.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# Three workers on two cores: a third of the time somebody waits for a process, a browser or a killed worker.
PYTEST_ARGS ?= -n 3
ONLY ?=
RPS ?= 5

.DEFAULT_GOAL := help
.PHONY: help up down visitors test bench lint lock format chaos docs-shots venv venv-dev browser

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

up: venv ## Start the portal: database, web, worker, scheduler (PORT=8000). Ctrl-C stops it, tenants keep running
	@exec $(BIN)/python -m portal.stack.up

down: venv ## Stop the portal, the tenants' processes and the database
	@$(BIN)/python -m portal.stack.down

visitors: venv ## Send the tenants' requests to the local fleet while it runs (RPS=5), so that charts and gates have figures
	@$(BIN)/python -m apps.fleet.providers.local.traffic --root "$${DAYTWO_DATA_DIR:-.data}/fleet" --rps $(RPS)

test: venv-dev browser ## Run all tests (PYTEST_ARGS="-n 3" or any pytest arguments)
	$(BIN)/pytest $(PYTEST_ARGS)

chaos: venv-dev ## Run the full-size survival tests: workers killed, PostgreSQL restarted
	$(BIN)/pytest -m chaos_full -n 0

bench: venv-dev ## Measure the figures the portal promises (ONLY=name for one)
	$(BIN)/python -m portal.stack.bench $(if $(ONLY),--only $(ONLY))

docs-shots: venv-dev browser ## Make the screenshots in docs/ anew
	DAYTWO_DOCS_SHOTS=1 $(BIN)/pytest -m browser -n 0 -k shots

lint: venv-dev ## All checks that run no test
	@$(BIN)/python -m portal.stack.lint

format: venv-dev ## Bring code and templates into house style
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	git ls-files -z -- 'templates/*.html' 'apps/*.html' | xargs -0 -r $(BIN)/djade --target-version 5.2

lock: venv-dev ## Pin requirements/*.in to requirements/*.txt with hashes (UPGRADE=1 for the newest of all)
	@for name in base local dev; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade) \
	    requirements/$$name.in --output-file requirements/$$name.txt || exit 1; \
	done

# --- the virtual environment: made once, changed only when requirements change -------------------------------
venv: $(VENV)/.local-stamp
venv-dev: $(VENV)/.dev-stamp

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 was not found. Install it, or: make up PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Daytwo needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Use: make up PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "The virtual environment could not be made. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }

$(VENV)/.local-stamp: requirements/local.txt | $(BIN)/python
	@echo "Installing what the portal runs on (requirements/local.txt) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/local.txt
	@touch $@

$(VENV)/.dev-stamp: requirements/dev.txt $(VENV)/.local-stamp | $(BIN)/python
	@echo "Installing what tests and linters need (requirements/dev.txt) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

browser: venv-dev
	@$(BIN)/python -m portal.stack.browser
