# The front door. `make demo` and `make test` work on a fresh clone; nothing else is needed first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two threads are slower than one on small models, and figures are only comparable on one.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint install clean

demo: install
	$(BIN)/python -m hyperagent.demo

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.installed

# torch comes first and pinned: with it in place nothing pulls another build of several gigabytes.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	grep '^torch==' constraints.txt | xargs $(BIN)/pip install --quiet --disable-pip-version-check
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis runs
