# Needs Python 3.11 to 3.13, git and make. `make PYTHON=python3.12 ...` chooses the interpreter,
# `make VENV=/some/folder ...` the environment.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

bin := $(VENV)/bin
installed := $(VENV)/.autokit-installed

.PHONY: help quickstart test lint bench clean

help:
	@echo "make quickstart   search, export and check a model for handwritten digits (about 2 minutes)"
	@echo "make test         run the tests"
	@echo "make lint         check style and the layering of the package"
	@echo "make bench        run the benchmarks (long; AUTOKIT_DATA names the data folder)"
	@echo "make clean        remove the environment and the build folders"

$(installed): constraints.txt pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "autokit: no Python at '$(PYTHON)'; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "autokit: needs Python 3.11 to 3.13, '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1);" \
	       "name another with: make PYTHON=python3.12 ..." >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
	"$(bin)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch "$@"

quickstart: $(installed)
	"$(bin)/autokit" quickstart $(ARGS)

test: $(installed)
	"$(bin)/python" -m pytest $(ARGS)

lint: $(installed)
	"$(bin)/ruff" check .
	"$(bin)/ruff" format --check .
	"$(bin)/lint-imports" --config setup.cfg

bench: $(installed)
	@for file in $$(grep -l __main__ benchmarks/*.py); do echo "== $$file"; "$(bin)/python" "$$file" $(ARGS) || exit 1; done

clean:
	rm -rf "$(VENV)" build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
