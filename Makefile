# make book   execute the chapters (quick profile, no download) and build the book
# make test   every check there is: lint, types, stripped notebooks, tests, chapters, the book in a browser
# make lab    JupyterLab with the first chapter open
# make lint   the fast checks only
# make clean  remove what was built; `make clean-all` also removes the environment
#
# PYTHON=/path/to/python chooses the interpreter (3.11 to 3.13) that the environment is made with.
# PYTEST="-m 'not slow'" adds options to the test run; PROCESSES=4 shares it among more of them.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST ?=
PROCESSES ?= 2
# one thread a process; tests/conftest.py says which tests stay together, and which start first
SHARED := -n $(PROCESSES) --no-loadscope-reorder
# the chapters of the book; one that waits for its records is written but not run
CHAPTERS := $(shell sed -n 's,^ *- file: \(chapters/.*\),\1.ipynb,p' _toc.yml)

.PHONY: book test lab lint clean clean-all
.DELETE_ON_ERROR:

book: $(STAMP)
	@$(BIN)/filterwise book

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval-lax $(SHARED) tests lib $(CHAPTERS) $(PYTEST)

lint: $(STAMP)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/nbstripout --verify $(wildcard chapters/*.ipynb)

lab: $(STAMP)
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/$(firstword $(CHAPTERS))

$(STAMP): requirements.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh .ci/environment $(VENV)

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache

clean-all: clean
	rm -rf $(VENV)
