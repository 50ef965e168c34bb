# Developer and user commands. `make help` lists them.
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= all
CONFIG ?= config/config.yaml
RESULTS ?= results/demo
export PYTHONPATH := workflow/scripts

.DEFAULT_GOAL := help
.PHONY: help env env-dev env-s3 demo report monitor check fetch-study test test-long test-cluster test-registry lint format lock schema bench clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

env: $(VENV)/.installed ## create the environment from the lock

$(VENV)/.installed: envs/requirements.txt envs/install.sh
	@envs/install.sh $(VENV) envs/requirements.txt
	@touch $@

$(VENV)/.installed-dev: envs/requirements-dev.txt $(VENV)/.installed
	@envs/install.sh $(VENV) envs/requirements.txt envs/requirements-dev.txt
	@touch $@

env-dev: $(VENV)/.installed-dev ## the same with what tests and development need

env-s3: $(VENV)/.installed ## the same with the plugin for object storage
	@envs/install.sh $(VENV) envs/requirements.txt envs/requirements-s3.txt

demo: $(VENV)/.installed ## run the workflow on the simulated cohort and say where the report is
	@$(BIN)/python -m stratiome.check_config $(CONFIG)
	@$(BIN)/snakemake --cores $(CORES) --quiet rules host reason --configfile $(CONFIG)

report: $(VENV)/.installed ## the same for another config, as CONFIG=config/cohorts/transbig.yaml, with Snakemake's own report.zip beside it
	@$(BIN)/python -m stratiome.check_config $(CONFIG)
	@$(BIN)/snakemake --cores $(CORES) --quiet rules host reason --configfile $(CONFIG)
	@to="$$($(BIN)/python -m stratiome.check_config --results $(CONFIG))/report.zip" && mkdir -p "$${to%/*}" && \
	  $(BIN)/snakemake --report "$$to" --configfile $(CONFIG) && echo "Snakemake's report: $$to" >&2

monitor: $(VENV)/.installed ## compare the batch of CONFIG with the bundle of its `bundle.apply` (exit codes: config/README.md)
	@$(BIN)/python -m stratiome.check_config $(CONFIG)
	@$(BIN)/snakemake --cores $(CORES) --quiet rules host reason --configfile $(CONFIG) -- monitor
	@$(BIN)/python -m stratiome.monitor $(CONFIG)

check: $(VENV)/.installed ## compare the numbers of the reports in RESULTS with their tables, and see what they give away
	@failed=0; \
	for reads in check_report check_disclosure; do $(BIN)/python -m stratiome.$$reads $(RESULTS) || failed=1; done; \
	exit $$failed

fetch-study: $(VENV)/.installed ## download the study that `data.fetch` of CONFIG names, once, before its first run
	@$(BIN)/python -m stratiome.cohort.fetch $(CONFIG)

test: $(VENV)/.installed-dev ## install what tests need and run them
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-long: $(VENV)/.installed-dev ## run what takes longest: faults, sweeps, object storage, the workflow as a module
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m long

test-cluster: $(VENV)/.installed-dev ## bring up a SLURM of two nodes on this machine (root, Debian) and test on it
	@STRATIOME_CLUSTER=1 $(BIN)/python -m pytest tests/cluster

test-registry: $(VENV)/.installed-dev ## make the environment of each stage anew and compare a run in them (network, minutes)
	@$(BIN)/python -m pytest -m registry

lint: $(VENV)/.installed-dev ## check style, types and the workflow
	@$(BIN)/ruff check workflow tests
	@$(BIN)/ruff format --check workflow tests
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/mypy
	@$(BIN)/snakemake --lint

format: $(VENV)/.installed-dev ## format the code and write generated files anew
	@$(BIN)/ruff check --fix workflow tests
	@$(BIN)/ruff format workflow tests
	@$(BIN)/snakefmt Snakefile workflow
	@$(MAKE) --no-print-directory schema

schema: $(VENV)/.installed ## write the JSON schema and the tables of config/README.md anew
	@$(BIN)/python -m stratiome.schema

bench: $(VENV)/.installed-dev ## measure time and memory per stage, and write tests/benchmarks/RESULTS.md
	@$(BIN)/python tests/benchmarks/stages.py

lock: $(VENV)/.installed ## resolve envs/*.in to exact versions
	@UV=../$(BIN)/uv envs/lock.sh

clean: ## remove results and caches (not the environment)
	@rm -rf results .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find workflow tests -name __pycache__ -type d -prune -exec rm -rf {} +
