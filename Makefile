# Every target sets up .venv itself. Needs Python 3.11 or later, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# As many testers as cores; tests/conftest.py says which tests come first and which stay together.
PARALLEL := -n auto --dist loadscope --no-loadscope-reorder

.PHONY: setup test test-slow test-lower-bounds bench lint format constraints clean

bench: setup  ## set up and print an ablation table of activations on real data
	$(BIN)/bench run activations

test: setup  ## set up and run the tests
	$(BIN)/pytest $(PARALLEL)

test-slow: setup  ## the tests that take minutes: kill storms, clusters, many processes, all data sets
	$(BIN)/pytest $(PARALLEL) -m "slow and not alone"

test-lower-bounds: setup  ## the tests with the oldest torch and lightning that are supported, which GPU machines have
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) build/lower-bounds
	VIRTUAL_ENV=build/lower-bounds $(BIN)/uv pip install --quiet 'torch==2.11.*' 'torchvision==0.26.*' 'lightning==2.6.*' \
		--editable '.[dev]'
	build/lower-bounds/bin/pytest $(PARALLEL) $(TESTS)

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
