# Everything runs in .venv, made on first use from requirements.lock. Needs python3 (3.11 or later)
# and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TASK ?= vqa
MODEL ?= vlbert
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# idle OpenMP threads that spin slow two busy cores down tenfold
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help eval test lint types format baselines bench-metrics check reference leaderboard lock clean

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

eval: $(VENV)/installed  ## evaluate MODEL on TASK (vlbert on vqa)
	@$(BIN)/harness eval --task $(TASK) --model $(MODEL) $(ARGS)

test: $(VENV)/installed  ## the whole test suite
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

lint: $(VENV)/installed  ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/installed  ## mypy --strict
	@$(BIN)/mypy -p harness && $(BIN)/mypy tests

format: $(VENV)/installed  ## put the code into shape
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

baselines: $(VENV)/installed  ## retrain all bundled weights; goes on where it was stopped
	@$(BIN)/python -m harness.baselines.retrain $(ARGS)

bench-metrics: $(VENV)/installed  ## caption metrics against pycocoevalcap, in one paired run
	@$(BIN)/python scripts/bench_metrics.py $(ARGS)

CHECKED := nce show-attend-tell temporal-attention vlbert vilbert
# 50 samples of every task that each can do
check: $(VENV)/installed  ## hold the bundled models against reports/reference
	@rm -rf build/check
	@for model in $(CHECKED); do OMP_NUM_THREADS=1 $(BIN)/harness eval --task all --model $$model --limit 50 \
	  --controls none --no-floors -o build/check > /dev/null || exit $$?; done
	@$(BIN)/harness check build/check --against reports/reference --all $(ARGS)

reference:  ## make reports/reference anew from the bundled models, and show what changed
	@mkdir -p reports/reference && $(MAKE) check ARGS=--update

# keeps the runs that are there: the same command goes on with what was stopped
leaderboard: $(VENV)/installed  ## the bundled models and floors on every Toybox task, into reports/
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/make_leaderboard.py --runs build/leaderboard --output reports $(ARGS)

lock:  ## resolve requirements.lock anew from pyproject.toml
	@rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/pip install -q 'torch==2.13.0' && .venv-lock/bin/pip install -q '.[dev,easy-vqa,lmdb,video]' setuptools
	@{ echo "# made by 'make lock'; Python $$($(PYTHON) -c 'import platform; print(platform.python_version())')"; \
	  .venv-lock/bin/pip freeze --all --exclude harness --exclude pip | sed 's/+cpu$$//'; } > requirements.lock
	@rm -rf .venv-lock

clean:  ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) .venv-lock build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The package is installed editable and without its requirements, which the lock file pins.
$(VENV)/installed: requirements.lock pyproject.toml
	@echo "installing into $(VENV) (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "harness needs Python 3.11 or later; name one: make PYTHON=python3.11 ..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q -r requirements.lock
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@
