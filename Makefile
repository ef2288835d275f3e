# The verbs of the work. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TRACKBED_BIN := $(abspath $(BIN))
NAME ?= local

.DEFAULT_GOAL := help
.PHONY: help demo down test test-examples benchmarks lint format lock docs clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/made  ## Bring up the local environment, train and serve the sample workflow
	@$(BIN)/python scripts/demo

down: $(VENV)/made  ## Take the local environment away; data is kept
	@$(BIN)/trackbed down $(NAME)

test: $(VENV)/made  ## Run the unit and the local end-to-end suites
	@$(BIN)/pytest -m "not slow and not benchmark" --numprocesses 2 --dist loadfile

test-examples: $(VENV)/made  ## Run the examples that the tools' own packages ship (long)
	@$(BIN)/pytest -m slow

benchmarks: $(VENV)/made  ## Compare with the tools started by hand; prints ratios
	@$(BIN)/pytest -m benchmark -s

lint: $(VENV)/made  ## Check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

format: $(VENV)/made  ## Format the code and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(VENV)/made  ## Resolve requirements.lock and the engines' locks anew
	@scripts/lock

docs: $(VENV)/made  ## Write the generated pages of docs/
	@$(BIN)/python scripts/docs

clean:  ## Remove the virtual environment and caches; environments and their data stay
	rm -rf $(VENV) $(VENV)-tools .pytest_cache .ruff_cache .hypothesis

$(VENV)/made: requirements.lock pyproject.toml scripts/bootstrap
	@scripts/bootstrap $(PYTHON) $(VENV)
	@touch $@
