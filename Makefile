# Two commands do everything: `make run` and `make test`. On Windows, type the commands of a recipe by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test check readme browser examples cluster clean

# Install once; again only when what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev,browser]'
	touch $@

run: $(STAMP)  ## random labels on real digits: two networks, six conditions, five levels, three seeds; under two minutes
	$(BIN)/shattering run zhang2017-random-labels --out runs

check: $(STAMP)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## checks and the default tests, within eight minutes on two cores
	$(BIN)/python -m pytest -n 2

readme: $(STAMP)  ## every command of README.md, in its order; about four minutes
	$(BIN)/python -m pytest -p no:xdist -m slow tests/test_readme.py

browser: $(STAMP)  ## the report in a real browser; needs Chromium
	$(BIN)/python -m pytest -m browser

cluster: $(STAMP)  ## Ray and submitit on this machine, and local sweeps, killed on the way; about five minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray,slurm]'
	$(BIN)/python -m pytest -p no:xdist -m slow tests/execution/test_engines_on_clusters.py tests/faults/test_killed_sweep.py

examples: $(STAMP)  ## the worked examples of an audit, and their reports in Chromium; about ten minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lightning,transformers]'
	$(BIN)/python -m pytest -p no:xdist -m slow tests/test_examples.py

clean:
	rm -rf $(VENV) runs
