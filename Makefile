# For people and for CI alike. Every target does its own set-up, once: again only after uv.lock or pyproject.toml changed.
# Recipes are silent and set-up speaks on stderr, so that stdout carries what the programs print.

.PHONY: help demo test lint scenarios torture bench fuzz
.DEFAULT_GOAL := help

BIN := .venv/bin
STAMP := .venv/set-up
KILLS ?= 20

help:
	@echo 'make demo    four sites on this machine deliver keys; ARGS="--once --json" passes arguments on'
	@echo 'make test    lint, then all tests; names at its end what this machine could not run'
	@echo 'make lint    formatting, style, types and import contracts'
	@echo 'make scenarios   simulated sites under faults; ARGS="--seconds 3600" or ARGS="--seed 7"'
	@echo 'make torture     real sites under kill -9 and network faults; KILLS=200 for a release, ARGS="--seed 7" to break the same things again, ARGS=--split to kill modules too, ARGS="--topology ring5" for keys over repeaters'
	@echo 'make fuzz    decoders under made-up input; ARGS="etsi004 --seconds 600"'
	@echo 'make bench   the benchmarks; ARGS="..." passes arguments on'

demo: $(STAMP)
	@$(BIN)/qss demo $(ARGS)

test: lint
	@$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

scenarios: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python -m scenarios $(ARGS)

torture: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python -m torture --kills $(KILLS) $(ARGS)

fuzz: $(STAMP)
	@$(BIN)/python -m fuzz $(ARGS)

bench: $(STAMP)
	@$(BIN)/python -m benchmarks $(ARGS)

$(STAMP): uv.lock pyproject.toml scripts/set-up
	@scripts/set-up
