# Everything is set up on first use: `make run` and `make test` need only make and Python 3.11 or later with venv.
#
# From the environment or as an argument of make:
#   PY=python3.12       the interpreter (default: the first of python3, python3.13, python3.12, python3.11 that will do)
#   HOST, PORT          where `make run` listens (default 127.0.0.1, 8000)
#   ARGS="-k calendar"  more arguments for pytest, the benchmark or uv
# As an argument only:
#   VENV=.venv          the virtual environment; made anew when PY's version changes

VENV := .venv
HOST ?= 127.0.0.1
PORT ?= 8000

# Each candidate is started, not only looked up: a version manager's python3.12 can be on PATH and refuse to start.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PY ?= $(shell for py in python3 python3.13 python3.12 python3.11; do \
	"$$py" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$py" && break; done)
PY := $(PY)
PY_VERSION := $(shell "$(PY)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
UV := $(shell command -v uv 2>/dev/null)

BIN := $(VENV)/bin
# Stamps: the environment exists; what `make run` needs is in it; what everything else needs is in it.
BARE := $(VENV)/.made-by-python$(PY_VERSION)
RUNTIME := $(VENV)/.has-requirements
DEV := $(VENV)/.has-requirements-dev

# Wheels only: a source distribution would want a compiler. The project itself is installed editable, by the locked hatchling.
LOCKED := --quiet --require-hashes --only-binary=:all: --requirement
PROJECT := --quiet --no-deps --no-build-isolation --editable .
ifdef UV
CREATE_VENV = uv venv --quiet --no-project --python "$(PY)" $(VENV)
INSTALL = uv pip install --compile-bytecode --python $(BIN)/python
else
CREATE_VENV = "$(PY)" -m venv $(VENV)
INSTALL = $(BIN)/python -m pip --disable-pip-version-check install
endif

# The service and the tests start Python many times: compiled once, each start takes a fraction.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint format types browser postgres nginx helm lock wheel docs fuzz soak mutants bench clean python

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## start the service on HOST:PORT, setting up what is missing
	@$(BIN)/cds-service serve --host "$(HOST)" --port "$(PORT)"

test: $(DEV) browser postgres nginx helm lint types ## lint, types, then all tests; sets up what is missing, browser and servers too
	@$(BIN)/pytest --numprocesses=auto --dist=loadfile $(ARGS)

lint: $(DEV) ## ruff: rules and format
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "make: not formatted as ruff would; 'make format' mends it" >&2; exit 1; }

format: $(DEV) ## mend what ruff can mend
	@$(BIN)/ruff check --fix --exit-zero --silent
	@$(BIN)/ruff format

types: $(DEV) ## mypy
	@$(BIN)/mypy --no-error-summary

wheel: $(DEV) ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist

docs: $(DEV) ## the documentation as a site, in site/
	@$(BIN)/mkdocs build --strict

fuzz: $(DEV) ## a million spoilt bodies, and more calls made from the OpenAPI document
	@$(BIN)/python -m tests.fuzz $(ARGS)
	@FUZZ_EXAMPLES=1000 $(BIN)/pytest --quiet tests/conformance/test_openapi.py

soak: $(DEV) ## half an hour of calls at 80 % of the capacity: ARGS="--minutes 5 --rate 20 --workers 2"
	@$(BIN)/python -m tests.soak $(ARGS)

# It works in mutants/, afresh each time.
mutants: $(DEV) ## small changes of rules, units, dates, each to fail a test: ARGS="threshold --tests tests/rules"
	@rm -rf mutants
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: $(DEV) ## speed beside baselines: ARGS="--sizes 50,200 --baselines typed --rounds 5"
	@$(BIN)/python -m bench $(ARGS)

# Development first: it has the narrower choice, and the two locks must agree. --no-config: not this machine's settings.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" \
	uv pip compile --quiet --no-config --universal --generate-hashes --python-version 3.11 $(ARGS)

lock: ## write the lock files anew (needs uv); ARGS=--upgrade for newer versions
	@command -v uv >/dev/null || { echo "make: 'make lock' needs uv (pip install uv)" >&2; exit 1; }
	@$(COMPILE) --extra dev --output-file requirements-dev.lock pyproject.toml
	@$(COMPILE) --extra build --constraints requirements-dev.lock --output-file requirements.lock pyproject.toml
	@$(COMPILE) --extra build --extra postgres --constraints requirements-dev.lock \
		--output-file deploy/requirements.lock pyproject.toml

clean: ## remove the environment, caches and built files
	@! $(IS_VENV) || rm -rf $(VENV)
	@rm -rf dist .bench bench.json mutants .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@"$(PY)" -c '$(NEW_ENOUGH)' 2>/dev/null || { echo "make: Python 3.11 or later is needed," \
		"$(if $(PY),but '$(PY)' is older or does not start,but none is on PATH); choose one with PY=..." >&2; exit 1; }
	@$(if $(UV),:,"$(PY)" -c 'import ensurepip, venv' 2>/dev/null) || { echo "make: $(PY) has no venv;" \
		"on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# An environment of another Python is no use, so it is made from nothing; what is no environment is not ours to remove.
IS_VENV = [ -e $(VENV)/pyvenv.cfg ]
$(BARE): | python
	@[ ! -e $(VENV) ] || $(IS_VENV) || { echo "make: $(VENV) is in the way: it is no virtual environment" >&2; exit 1; }
	@rm -rf $(VENV)
	@echo "Setting up $(VENV) with $(PY) ($(PY_VERSION)); this takes a minute, once"
	@$(CREATE_VENV)
	@touch $@

$(RUNTIME): $(BARE) requirements.lock pyproject.toml
	@$(INSTALL) $(LOCKED) requirements.lock
	@$(INSTALL) $(PROJECT)
	@touch $@

# Holds all that requirements.lock holds, in the same versions: what `make run` needs is there too.
$(DEV): $(BARE) requirements-dev.lock requirements.lock pyproject.toml
	@$(INSTALL) $(LOCKED) requirements-dev.lock
	@$(INSTALL) $(PROJECT)
	@touch $(RUNTIME) $@

# Chromium and PostgreSQL come from Debian's packages where we may install them without asking anybody. Where one stays
# missing, the tests that need it say so themselves: skipped by name, failed where CI=true.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo "sudo --non-interactive")
# $(call DEBIAN,command that tells that it is there,package,name)
DEBIAN = { $(1); } >/dev/null 2>&1 || ! command -v apt-get >/dev/null || ! $(SUDO) true 2>/dev/null || { \
		echo "Installing $(3) for the tests"; \
		$(SUDO) apt-get --quiet=2 update && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive \
			apt-get --quiet=2 --yes --no-install-recommends install $(2) >/dev/null; \
	} || echo "make: $(3) could not be installed" >&2

browser:
	@$(call DEBIAN,command -v chromium,chromium,Chromium)

postgres:
	@$(call DEBIAN,command -v initdb || ls /usr/lib/postgresql/*/bin/initdb,postgresql,PostgreSQL)

nginx:
	@$(call DEBIAN,command -v nginx || ls /usr/sbin/nginx,nginx-light,nginx)

helm: $(DEV)
	@[ -x $(BIN)/helm ] || { echo "Fetching helm for the tests of its chart"; \
		$(BIN)/python tests/deploy/get_helm.py $(BIN); } || echo "make: helm could not be fetched" >&2
