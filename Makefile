# make demo   race six rules on a digit-recognising CNN: a table and learning_curves.png
# make test   the fast tests;  make test-slow   the long ones
# make lint, make types       ruff; mypy, and pyright on calls as users write them
# make docs                   the site, in docs/_build/html
# make notebooks              run the notebooks again and keep their outputs
# make bench                  speed, compile time and memory beside PyTorch and optax (installs both);
#                             RESULTS=PATH says where the figures go, benchmarks/compare.py
#                             compares two such files
#
# Each sets up $(VENV) by itself, with $(PYTHON) >= 3.11 and pip.

PYTHON ?= python3
VENV ?= .venv
TEST_EXTRAS ?= test
RESULTS ?= benchmarks/results/speed.json
BIN = $(VENV)/bin

.PHONY: demo docs test test-slow lint types notebooks bench clean

demo: $(VENV)/.demo
	$(BIN)/python notebooks/race.py

test: $(VENV)/.$(TEST_EXTRAS)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadgroup

test-slow: $(VENV)/.$(TEST_EXTRAS)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadgroup

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html

notebooks: $(VENV)/.notebooks
	OPENBLAS_NUM_THREADS=1 $(BIN)/python notebooks/execute.py

bench: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet -r benchmarks/requirements.txt
	$(BIN)/python benchmarks/speed.py --chart benchmarks/speed.png --json $(RESULTS)

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; give a newer one: make PYTHON=python3.13 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@
