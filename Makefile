# dhflow: everything needs only make and Python >= 3.10; `make PYTHON=python3.12 test` picks another interpreter.

PYTHON ?= python3
VENV ?= .venv
ENDPOINT_VENV ?= .venv-endpoint
TEST_PROCESSES ?= 2
WORKERS ?= 2
TRIALS ?= 30
PYTEST_ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/installed.stamp
ENDPOINT_STAMP := $(ENDPOINT_VENV)/installed.stamp
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
DEMO := build/demo

# The numerical libraries of this process keep to one core; a site gives its workers theirs.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format pytest globus chaos coverage bench clean distclean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1|\2/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## make .venv with every extra and the test tools (once; the other targets do it too)

# The dependencies change with pyproject.toml alone, so after the first time nothing is downloaded.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "dhflow needs Python 3.10 or newer, $(PYTHON) is " + sys.version.split()[0])'
	@echo 'Setting up $(VENV) with all extras (TensorFlow among them, about 2.5 GB): some minutes, once.'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --upgrade 'pip>=23'
	$(BIN)/python $(PIP_INSTALL) -e '.[all,test]'
	@touch $@

# An endpoint's packages hold back click, and bring a package named tests, which workers would take for ours.
$(ENDPOINT_STAMP): pyproject.toml
	$(PYTHON) -m venv $(ENDPOINT_VENV)
	$(ENDPOINT_VENV)/bin/python $(PIP_INSTALL) --upgrade 'pip>=23'
	$(ENDPOINT_VENV)/bin/python $(PIP_INSTALL) -e '.[globus,endpoint,notebook,test]'
	@touch $@

demo: $(STAMP) ## search Keras networks on handwritten digits: 30 trials on two workers of this machine
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(BIN)/dhflow search apps/digits/problem.py --searcher ambs --seed 1 --max-trials $(TRIALS) \
	    --site laptop --site-set workers=$(WORKERS) --site-set cores_per_worker=1 \
	    --history $(DEMO)/digits.h5 --plot $(DEMO)/digits.png

test: lint pytest ## set up everything, check style, types and imports, run all tests (DHFLOW_TESTS=all: also the long ones)

lint: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff put the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pytest: $(STAMP) ## the tests alone, in TEST_PROCESSES=2; PYTEST_ARGS="-k space" picks some
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) $(PYTEST_ARGS)

globus: $(ENDPOINT_STAMP) ## the tests through real endpoints of Globus Compute, in an environment of their own
	DHFLOW_TESTS=all $(ENDPOINT_VENV)/bin/python -m pytest tests/sites/test_globus.py tests/sites/test_function_kinds.py \
	    $(PYTEST_ARGS)

chaos: $(STAMP) ## 200 rounds of random faults, about an hour; DHFLOW_CHAOS_SEED=17 repeats one
	DHFLOW_TESTS=all DHFLOW_CHAOS_ROUNDS=$${DHFLOW_CHAOS_ROUNDS:-200} \
	    $(BIN)/python -m pytest tests/faults/test_chaos.py -p no:randomly $(PYTEST_ARGS)

coverage: $(STAMP) ## the tests with branch coverage
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)

bench: $(STAMP) ## measure overheads and print them as ratios (nothing is asserted)
	$(BIN)/python tests/benchmarks/run.py

clean: ## remove what the targets wrote, but for the environment
	rm -rf build dist runinfo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -not -path './$(ENDPOINT_VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove the environments too
	rm -rf $(VENV) $(ENDPOINT_VENV)
