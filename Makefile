# Every target sets up .venv itself. Needs Python 3.11 or later, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# As many testers as cores; tests/conftest.py says which tests come first and which stay together.
PARALLEL := -n auto --dist loadscope --no-loadscope-reorder

.PHONY: setup test test-slow bench lint format constraints clean

bench: setup  ## set up and print an ablation table of activations on real data
	$(BIN)/bench run activations

test: setup  ## set up and run the tests
	$(BIN)/pytest $(PARALLEL)

test-slow: setup  ## the tests that take minutes: kill storms, clusters, many processes, all data sets
	$(BIN)/pytest $(PARALLEL) -m "slow and not alone"

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(VENV)/installed

# uv installs the 5 GB of torch in half a minute, pip in two.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; say make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --constraints constraints.txt --editable '.[dev]'
	touch $@

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: setup  ## pin the newest versions that pyproject.toml admits
	echo '# The exact versions that the tests ran with; pip and uv take them with -c. Made by `make constraints`.' > $@.txt
	$(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --no-annotate --no-header \
		--extra dev --extra speed pyproject.toml >> $@.txt

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
