# Every target works from a clean clone: what it needs is installed into the virtual environment first.
# Output of `setup` goes to stderr, so that `make bench JSON=1` prints nothing but its object.

# make check PYTHON=python3.12 uses an environment of its own beside the usual one.
PYTHON ?=
VENV ?= .venv$(addprefix -,$(notdir $(PYTHON)))
BIN := $(VENV)/bin

# The tests' processes (the machine that gates has two cores), and more arguments for whatever a target runs.
WORKERS ?= 2
FUZZ_SECONDS ?= 120
JOBS ?= $(WORKERS)
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup web demo test long browser spark check lint types layers docs mutate model sim twins fuzz bench bench-floor profile guard e2e \
	format lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

setup: ## create or refresh the virtual environment from the lock file
	@bash scripts/setup.sh "$(VENV)" "$(PYTHON)"

web: setup ## install Node and what else testing the JavaScript verifier needs
	@bash scripts/setup_web.sh "$(VENV)"

demo: setup ## run four banks on this machine, prove an answer offline, lose a bank and get it back
	@$(BIN)/chainnode demo $(ARGS)

test: setup web ## run the tests (ARGS="tests/ledger -k name" for some of them)
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(ARGS)

long: setup web ## run the tests that take longest: torments, the guide to certifying, the guard's own
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m long $(ARGS)

browser: setup web ## click through the pages in Chromium, against a real network and one that lies (installs Chromium as root)
	@bash scripts/setup_browser.sh "$(VENV)"
	@$(BIN)/python -m pytest -q -m browser $(or $(ARGS),tests/browser)

spark: setup ## read an export by PySpark (installs it, 450 MB; Java has to be there)
	@bash scripts/spark.sh "$(VENV)"

check: COUNT ?= 5
check: SEEDS ?= 500
check: lint types layers docs mutate sim test ## run everything that a change must pass: lint, types, layers, docs, mutations, simulations, tests

lint: setup web ## check format and lint rules
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@bash scripts/check_web.sh "$(VENV)"

types: setup ## check the types with mypy --strict
	@$(BIN)/mypy --no-error-summary

layers: setup ## check that imports go down the layers and that pure packages stay pure
	@$(BIN)/lint-imports --no-cache > $(VENV)/layers.log 2>&1 || { cat $(VENV)/layers.log >&2; exit 1; }

docs: setup ## check links, anchors, named files and commands of the documentation
	@$(BIN)/python scripts/check_docs.py

mutate: setup web ## break safety rules one at a time: tests must notice (ONLY=name NEW=1 COUNT=n SEED=text MARKDOWN=1 FOLDER=where TESTED=1), or OPERATORS=1 FILES="..."
ifneq ($(OPERATORS),)
	@$(BIN)/python scripts/mutation_operators.py $(FILES) --jobs $(JOBS) $(if $(COUNT),--count $(COUNT)) \
		$(if $(SEED),--seed $(SEED)) $(if $(TESTS),--tests $(TESTS))
else
	@$(BIN)/python scripts/mutate.py --jobs $(JOBS) $(if $(ONLY),--only $(ONLY)) $(if $(NEW),--new) $(if $(COUNT),--count $(COUNT)) \
		$(if $(SEED),--seed $(SEED)) $(if $(MARKDOWN),--markdown) $(if $(FOLDER),--folder $(FOLDER)) \
		$(if $(TESTED),--tested)
endif

sim: setup ## run simulated clusters (SEEDS=n SEED_START=k NODES="4 7" JOBS=2)
	@$(BIN)/python -m sim $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED_START),--seed-start $(SEED_START)) \
		$(if $(NODES),--nodes $(NODES)) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

twins: setup ## run scenarios in which one validator's key runs twice (SEEDS=n SEED_START=k, ALL=1 for every schedule)
	@$(BIN)/python -m sim.twins --jobs $(WORKERS) $(if $(ALL),--all) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(SEED_START),--seed-start $(SEED_START)) $(ARGS)

model: setup ## explore the abstract protocol (VIEWS=n HEIGHTS=h WALKS=w), and show what each rule prevents
	@$(BIN)/python -m sim.model $(if $(VIEWS),--views $(VIEWS)) $(if $(HEIGHTS),--heights $(HEIGHTS)) \
		$(if $(WALKS),--walks $(WALKS)) $(ARGS)

fuzz: setup ## fuzz by coverage (FUZZ_SECONDS=n), then the property tests with many more examples (EXAMPLES=n)
	@bash scripts/fuzz.sh "$(VENV)" "$(FUZZ_SECONDS)"
	@CHAINNODE_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile \
		-m hypothesis --hypothesis-profile=fuzz --timeout=0 $(ARGS)

bench: setup ## measure throughput and latency of four nodes (JSON=1 for one JSON object)
	@$(BIN)/python -m bench $(if $(JSON),--json) $(ARGS)

bench-floor: setup ## measure what an event must cost at least (JSON=1 for one JSON object)
	@$(BIN)/python -m bench.floor $(if $(JSON),--json) $(ARGS)

profile: setup ## sample a node under load: folded stacks, flame graphs and tables (ARGS="lone --seconds 20" for some)
	@$(BIN)/python -m bench.profile $(ARGS)

guard: setup ## fail where the node takes 15 % more processor time over the floor than recorded (RECORD=1 to record)
	@$(BIN)/python -m bench.guard $(if $(RECORD),--record) $(ARGS)

e2e: setup ## run the tests with real processes, or torment them: SEED=n, MANIFESTS=24, MANIFEST=file
	@bash scripts/setup_e2e.sh
ifneq ($(SEED)$(MANIFESTS)$(MANIFEST),)
	@$(BIN)/python -m torment $(if $(SEED),--seed $(SEED)) $(if $(MANIFESTS),--manifests $(MANIFESTS)) \
		$(if $(MANIFEST),--manifest $(MANIFEST)) $(ARGS)
else
	@$(BIN)/python -m pytest -q -m e2e $(ARGS)
endif

format: setup ## format the code and apply safe lint fixes
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

lock: setup ## renew requirements.lock from pyproject.toml (UPGRADE=1 takes newer versions)
	@bash scripts/lock.sh "$(BIN)/uv" $(if $(UPGRADE),--upgrade)
