# make demo      train, compress, export, bench, report: everything lands in demo/
# make test      linters, types, import rules and the quick tests
# make test-all  the slow tests too
# make clean     remove what the commands above made, .venv included

VENV ?= .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
DEMO := demo
# One test process per core; `make test JOBS=1` runs them one after the other.
JOBS ?= auto
SPREAD := -n $(JOBS) --maxprocesses 8 --dist worksteal
RECIPE ?= rooms-demo

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-all check clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.13 with venv found;" \
		"install one, or name it: make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Stamps: pip runs again only when pyproject.toml changes.
$(VENV)/.base: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) (torch is large: about 6 GB with its default build)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) (torch is large: about 6 GB with its default build)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@ $(VENV)/.base

demo: $(VENV)/.base
	@mkdir -p $(DEMO) && cd $(DEMO) && run="runs/$(RECIPE)-$$(date +%Y%m%d-%H%M%S)" && \
	bin="$(abspath $(BIN))" && step() { echo; echo "\$$ compactmtl $$*"; "$$bin/compactmtl" "$$@"; } && \
	{ step train $(RECIPE) --run-dir "$$run" && \
	step compress "$$run/ckpt.pt" --prune-zero-channels && \
	step export && step bench --roofline && step report && \
	test -s compact/report.html && echo && \
	echo "demo finished; open $(abspath $(DEMO))/compact/report.html"; } || \
	{ echo "demo FAILED at the last command above" >&2; exit 1; }

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p compactmtl
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest -q -m "not slow" $(SPREAD)

test-all: check
	$(BIN)/python -m pytest -q $(SPREAD)

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
