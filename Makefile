# Both commands set up all that they need: Python 3.11 or newer, make and a package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp lies in the environment, so deleting that sets everything up anew.
READY := $(VENV)/.ready

.PHONY: demo test check soak bench clean

demo: $(READY)
	@$(BIN)/saferun demo $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest -q -n 2

check: $(READY)
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

soak: $(READY)
	@$(BIN)/python -m pytest -q -m "soak or not soak" --hypothesis-profile=soak

bench: $(READY)
	@$(BIN)/python -m benchmarks $(ARGS)

$(READY): pyproject.toml requirements/dev.txt
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) dist build demo-out .saferun
