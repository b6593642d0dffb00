# Every target sets up what it needs, in .venv, from locked and hashed requirements; all are safe to run again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CASE ?= cyclophosphamide
FAULT ?=
RATE ?=

.PHONY: help demo serve test check deep bench lock docs pictures clean
.DELETE_ON_ERROR:

help:
	@echo "make demo [CASE=hydrocortisone] [FAULT=clog]   print one prescription on the virtual bench and prove the record"
	@echo "make serve                                     the workstation on a demonstration bench, in a browser"
	@echo "make test    make check    make deep    make bench    make docs    make pictures    make lock"

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_paths()["purelib"], "dosewright.pth").write_text(str(pathlib.Path.cwd()) + "\n")'
	@printf '%s\n' '#!/bin/sh' "''''exec \"\$$(dirname \"\$$0\")/python\" \"\$$0\" \"\$$@\" # '''" 'import sys' 'from api.cli import main' 'sys.exit(main())' > $(BIN)/dosewright
	@chmod +x $(BIN)/dosewright
	@touch $@

$(VENV)/.runtime: requirements.lock $(VENV)/.python
	@echo "Installing the locked requirements into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@touch $@

$(VENV)/.development: requirements-dev.lock $(VENV)/.python
	@echo "Installing the locked development requirements into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.runtime

demo: $(VENV)/.runtime
	@$(BIN)/dosewright demo --dir demo --case $(CASE) $(if $(FAULT),--fault $(FAULT)) $(if $(RATE),--rate $(RATE))

serve: $(VENV)/.runtime
	@$(BIN)/dosewright serve --site site

test: $(VENV)/.development
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not deep"

deep: $(VENV)/.development
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: $(VENV)/.development
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.generated --check

docs: $(VENV)/.development
	@$(BIN)/python -m tests.generated --write

# Needs Chromium.
pictures: $(VENV)/.development
	@PYTHONPATH=.:tests/stack:tests/browser $(BIN)/python tests/browser/pictures.py

bench: $(VENV)/.development
	@PYTHONPATH=tests/printer $(BIN)/python -m tests.benchmarks

# Needs uv on the PATH; the lock names no index.
lock:
	@uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.lock
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements-dev.lock

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
