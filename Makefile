# Everything a person or CI does here. `make` lists the targets; repeats are quick (stamp files in .venv).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --quiet
CONSTRAINTS := $(if $(wildcard .ci/constraints.txt),-c .ci/constraints.txt)
BENCHMARKS := render queue_cycle depth gateway_throughput overhead worker_busy claim_check watchers replication_wait failover_loss model_switch
PEERS := build/bench-peers
# Each of these processes takes half of the tests, in their order, and helps the other when it is done: a folder's
# services and models are made once, and the tests that start many processes (the first half) do not meet each other.
JOBS ?= 2
SOURCES_OF_TRUTH := pyproject.toml worker/no-deps.txt $(wildcard .ci/constraints.txt)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install up test test-slow lint bench bench-peers shapes shapes-companions shapes-smoke clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  variables:      PYTHON=python3.12 (any from 3.10), ARGS="--port 9000" (for up, test, test-slow)'
	@echo '                  JOBS=0 (test in one process; 2 unless told otherwise)'
	@echo '                  EASEL_TORCH=cpu|cuda, EASEL_* settings (docs/operations.md)'

install: $(VENV)/.installed ## make .venv and install gateway, worker and page into it

up: $(VENV)/.installed ## install, start everything, print the address; Ctrl-C stops it
	@exec $(BIN)/easel up $(ARGS)

test: $(VENV)/.dev lint ## lint, then every test that is not slow
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(JOBS) --dist worksteal $(ARGS)

test-slow: $(VENV)/.dev ## the tests that need minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev bench-peers ## run the benchmarks one after the other; tables go to benchmarks/results/
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py; done

bench-peers: $(PEERS)/.python $(PEERS)/.python-arq $(PEERS)/.node ## install the queues that Easel is compared with into build/

shapes: $(VENV)/.installed ## make the small model from nothing (hours on a CPU) in build/shapes
	$(BIN)/python -m easel_shapes.recipe all --out build/shapes $(ARGS)

shapes-companions: $(VENV)/.installed ## make its ControlNet and its LoRAs in build/shapes
	$(BIN)/python -m easel_shapes.recipe companions --out build/shapes $(ARGS)

shapes-smoke: $(VENV)/.installed ## every stage of the recipe in its short form
	$(BIN)/python -m easel_shapes.recipe all --smoke --out build/shapes-smoke $(ARGS)
	$(BIN)/python -m easel_shapes.recipe companions --smoke --out build/shapes-smoke $(ARGS)

clean: ## remove .venv and caches; data/ stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo 'Easel needs Python 3.10 or newer; $(PYTHON) is' "$$($(PYTHON) --version 2>&1)". \
	       'Try: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo '$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv' >&2; \
	  exit 1; }
	@test -x $(BIN)/python || { echo 'making $(VENV)'; $(PYTHON) -m venv $(VENV); }
	@touch $@

# torch first: its CPU and CUDA builds differ by gigabytes, and pip alone would always take CUDA's on Linux.
$(VENV)/.torch: $(VENV)/.made worker/easel_worker/install_torch.py
	@$(BIN)/python worker/easel_worker/install_torch.py
	@touch $@

$(VENV)/.installed: $(VENV)/.torch $(SOURCES_OF_TRUTH)
	@echo 'installing easel[gateway,worker,webui]'
	@$(PIP) $(CONSTRAINTS) -e '.[gateway,worker,webui]'
	@$(PIP) --no-deps -r worker/no-deps.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@echo 'installing easel[dev]'
	@$(PIP) $(CONSTRAINTS) -e '.[dev]'
	@touch $@

# A queue that cannot be installed is reported as absent in the table; the others are compared all the same.
$(PEERS)/.python $(PEERS)/.python-arq: $(PEERS)/.%: benchmarks/peers/%.txt
	@mkdir -p $(PEERS)
	@echo 'installing $<'
	@{ $(PYTHON) -m venv --clear $(PEERS)/$* && \
	   $(PEERS)/$*/bin/python -m pip install --disable-pip-version-check --quiet -r $< && touch $@; } || \
	  { rm -rf $(PEERS)/$*; echo '$<: cannot be installed; the table will say so' >&2; }

$(PEERS)/.node: benchmarks/peers/package.json
	@mkdir -p $(PEERS)
	@echo 'installing $<'
	@{ cp $< $(PEERS)/package.json && npm install --prefix $(PEERS) --no-audit --no-fund --loglevel=error && touch $@; } || \
	  { rm -rf $(PEERS)/node_modules; echo '$<: cannot be installed; the table will say so' >&2; }
