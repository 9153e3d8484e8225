# Two commands matter: `make serve` and `make test`. Both set up .venv themselves; a second run costs nothing.
#
#   make serve ARGS="--port 4100 --data-dir DIR"      run the service
#   make test  ARGS="tests/settings -k duration"      run the tests (all without ARGS)
#   make check                                        format, lint, types, fence, documents
#   make reliability                                  faults on real servers, alone on the machine
#   make bench | dist | fmt | docs | clean

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# Stamps: what was installed, and that pyproject.toml and constraints.txt have not changed since.
SERVER := $(VENV)/.server-installed
DEV := $(VENV)/.dev-installed
ARGS ?=
# The first Python on the path that is new enough; PYTHON=… chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$p" && break; done)

# Containers often set this: each process that a test, an experiment or a measure starts would compile all code anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install serve test check bench reliability dist fmt docs clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -7

install: $(DEV)

# What the service needs, and on top of that what tests and tools need. The second brings the first. uv leaves pip out
# unless it is told (--seed), and pages say how to add an extra with it.
$(SERVER): pyproject.toml constraints.txt
	@$(call install_extras,server)
	@touch $(SERVER)

$(DEV): pyproject.toml constraints.txt
	@$(call install_extras,server$(comma)dev)
	@touch $(SERVER) $(DEV)

comma := ,
define install_extras
	if [ -z "$(PYTHON)" ]; then echo "error: Python 3.11 or newer is needed" >&2; \
		echo "hint: apt-get install python3 python3-venv, or make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	if command -v uv >/dev/null 2>&1; then \
		[ -x $(BIN)/python ] || uv venv --quiet --seed --python "$(PYTHON)" $(VENV); \
		uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[$(1)]'; \
	else \
		[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv $(VENV) || { \
			echo "error: $(PYTHON) cannot make a virtual environment" >&2; \
			echo "hint: apt-get install python3-venv" >&2; exit 1; }; \
		echo "Installing into $(VENV) …"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(1)]'; \
	fi
endef

serve: $(SERVER)
	@exec $(BIN)/watchword serve $(ARGS)

# Each process takes a file. No test asserts a time that a busy or slow machine could miss: `make bench` measures.
test: $(DEV)
	@$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder -m "not rare" $(ARGS)

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/architecture

bench: $(DEV)
	@[ -d bench ] || { echo "error: there is no bench/ here" >&2; exit 1; }
	@$(BIN)/python -m bench $(ARGS)

# Slow tests of every part, then experiments with real servers and faults. Nothing else should run: some bounds are times.
# ARGS="--scale 0.1" tries a tenth, ARGS=--lengthy adds tests that take an hour; the rows go to build/reliability.json.
reliability: $(DEV)
	@$(BIN)/python -m tests.reliability $(ARGS)

# The wheel is built from the source archive, so that the archive is known to be complete.
dist: $(DEV)
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist >/dev/null
	@$(BIN)/python -m twine check --strict dist/*
	@$(BIN)/python -m tests.packaging.try_dist dist

fmt: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEV)
	@mkdir -p docs/reference
	$(BIN)/python -m watchword.cli.settings_page > docs/reference/settings.md
	$(BIN)/python -m watchword.cli.audit_page > docs/reference/audit.md
	$(BIN)/python -m watchword.cli.metrics_page > docs/reference/metrics.md
	$(BIN)/python -c "from tests.bounds.table import page; print(page(), end='')" > docs/security/bounds.md

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
