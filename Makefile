# make install | demo | test | test-oldest | engines | lint | format | explorer | bench | docs | clean
#
# Everything is installed into .venv. The stamps in there make repeated calls quick, and a change of
# the dependencies installs again. Another interpreter: make PYTHON=python3.12 install

PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
ENGINES := .venv-engines
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
REQUIREMENTS := setup.cfg pyproject.toml constraints.txt
CHECKED := $(wildcard skmind tests examples benchmarks docs/*.* docs/guide docs/coming_from explorer/src explorer/*.mjs *.md */README.md)
DATA ?= ../shared/data
SPEED := $(filter-out peers,$(basename $(notdir $(wildcard benchmarks/speed/*.py))))
PARALLEL ?= -n auto --maxprocesses 4 --dist worksteal
SPHINXOPTS ?= -W --keep-going

# Threads that wait for each other sleep rather than spin: where other work shares the cores, spinning
# makes training many times slower.
export OMP_WAIT_POLICY ?= PASSIVE

# Where the folder of the data sets is there, examples use it rather than download MovieLens.
ifneq ($(wildcard $(DATA)/ml-100k),)
export SKMIND_DATA ?= $(abspath $(DATA))
endif

.DELETE_ON_ERROR:
.PHONY: help install install-dev demo test test-oldest engines lint format explorer browser bench docs clean

help:
	@echo "make install   create .venv and install skmind into it"
	@echo "make demo      run examples/quickstart.py"
	@echo "make test      lint, then run the tests and doctests with coverage"
	@echo "make test-oldest  run the tests on the lowest versions that setup.cfg allows"
	@echo "make engines   run the tests on Spark (needs Java), Ray, Dask and PostgreSQL"
	@echo "make lint      ruff, mypy, import-linter, codespell"
	@echo "make format    let ruff fix and format the code"
	@echo "make explorer  build the page of MINDRecommender.explore (needs Node.js)"
	@echo "make bench     write the tables of speed; DATA=... is the folder of the data sets"
	@echo "make docs      build the documentation into docs/_build/html"
	@echo "make clean     remove .venv and everything else that was generated"

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("skmind needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; use make PYTHON=/path/to/python")'
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# Annoy is compiled for the processor at hand, so a cached wheel may not run on another machine.
$(VENV)/.installed: $(VENV)/.created $(REQUIREMENTS)
	$(PIP_INSTALL) --no-cache-dir annoy
	$(PIP_INSTALL) -e '.[datasets]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[docs]'
	@touch $@

# "name>=1.2" in setup.cfg becomes the constraint "name==1.2".
$(OLDEST)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv --clear $(OLDEST)
	sed -nE 's/^ +([a-z-]+)(\[.*\])?>=([0-9.]+)$$/\1==\3/p' setup.cfg | sort -u > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
		-c $(OLDEST)/constraints.txt annoy
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c $(OLDEST)/constraints.txt -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/python examples/quickstart.py

test: lint browser
	$(BIN)/python -m pytest --cov $(PARALLEL)

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest $(PARALLEL)

# Engines are large, and pgserver, which has a PostgreSQL with pgvector, needs Python 3.12 or older.
$(ENGINES)/.installed: $(REQUIREMENTS)
	$(PYTHON) -m venv --clear $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
		-c constraints.txt annoy
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[dask,datasets,ray,spark]' pytest 'psycopg[binary]' "pgserver; python_version < '3.13'"
	@touch $@

engines: $(ENGINES)/.installed
	$(ENGINES)/bin/python -m pytest tests/engines docs/guide/distributed.md

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell $(CHECKED)

# Compiler, libraries and a browser for the tests, in the versions of the lock file.
explorer/node_modules/.installed: explorer/package-lock.json explorer/browser.mjs
	cd explorer && npm ci --silent && node browser.mjs
	@touch $@

explorer: explorer/node_modules/.installed
	cd explorer && npm run --silent check && node build.mjs ../skmind/inspection/_explorer.html

# Without a network, or without Node.js, the tests in a browser are skipped.
browser:
	@if ! command -v npm >/dev/null; then echo "no npm: tests in a browser need an installed one"; \
	    else $(MAKE) --no-print-directory explorer/node_modules/.installed \
	    || echo "npm can't install the browser: tests in a browser are skipped"; fi

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The peers have an environment of their own. The machine must be quiet: there threads may spin, and two
# that sleep instead take twice as long for steps as small as these.
bench: OMP_WAIT_POLICY = ACTIVE
bench: install-dev
	PYTHON=$(PYTHON) sh benchmarks/speed/peers.sh --data $(DATA) --output benchmarks/results/speed.md
	for name in $(SPEED); do \
	    $(BIN)/python benchmarks/speed/$$name.py --output benchmarks/results/$$name.md || exit; \
	done

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build $(SPHINXOPTS) -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

clean:
	rm -rf $(VENV) $(OLDEST) $(ENGINES) build dist skmind.egg-info docs/_build docs/_extra docs/api/generated docs/auto_examples docs/results htmlcov .coverage .coverage.* coverage.xml
	rm -rf .mypy_cache .pytest_cache .ruff_cache explorer/node_modules explorer/browser
	find $(wildcard skmind tests examples benchmarks docs) -name __pycache__ -type d -prune -exec rm -rf {} +
