# Each target makes its own environment in .venv where it is missing; all it needs beforehand is a
# python3 of at least 3.11 with the venv module. `make PYTHON=python3.12 …` chooses another one.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow test-exhaustive lint types docs docs-serve bench all clean help

help:
	@echo "make demo       train a network on handwritten digits and write the HTML report"
	@echo "make test       run the test suite"
	@echo "make test-slow  run the longer tests · make test-exhaustive  those of an hour"
	@echo "make lint       style (ruff) · make types  typing (mypy) · make docs  the documentation"
	@echo "make bench      compare speed with PyTorch, JAX and NumPy · make bench PART=mlp  one part"
	@echo "make clean      remove what the other targets made"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Wengert needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1)."; \
	    echo "Name another one: make PYTHON=/path/to/python3.11 …"; exit 1; }
	$(PYTHON) -m venv .venv

# One stamp per set of extras: an environment is only ever added to.
.venv/%.installed: pyproject.toml .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@# Compiled once here, as an ordinary install would: imports stay fast where Python may not write.
	@$(BIN)/python -m compileall -q src/wengert
	@touch $@

demo: .venv/demo.installed
	$(BIN)/wengert demo

test: .venv/demo.installed .venv/test.installed
	$(BIN)/python -m pytest -n $(WORKERS)

test-slow: .venv/demo.installed .venv/test.installed
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

test-exhaustive: .venv/demo.installed .venv/test.installed
	$(BIN)/python -m pytest -n $(WORKERS) -m exhaustive

lint: .venv/lint.installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/lint.installed .venv/demo.installed
	$(BIN)/mypy

docs: .venv/docs.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: .venv/docs.installed
	$(BIN)/mkdocs serve

# make bench PART="mlp gpt" runs these parts; BENCH="--threads 1" passes options on.
bench: .venv/demo.installed
	$(BIN)/python -m benchmarks $(PART) $(BENCH)

all: lint types test docs

clean:
	rm -rf .venv site runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache
