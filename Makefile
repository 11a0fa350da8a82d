# The verbs of the project; `make` alone lists them. Works with GNU make 3.81 and later.
PYTHON ?= python3
PY := .venv/bin/python
WORKERS ?= 2

# A Python named by hand is obeyed or refused; else any fitting one is looked for.
ifneq ($(filter environment command%,$(origin PYTHON)),)
SETUP_PYTHON := $(PYTHON)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo test up down reset redrive check fmt openapi bench bench-long lock

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with everything needed (the other verbs do it themselves)
	@python="$(PYTHON)"; command -v "$$python" >/dev/null 2>&1 || python=python3; \
	command -v "$$python" >/dev/null 2>&1 || { echo "no python3 found: install Python 3.11 or newer" >&2; exit 1; }; \
	CARDWRIGHT_PYTHON="$(SETUP_PYTHON)" "$$python" -I tools/bootstrap.py

demo: setup ## start the whole stack, play one card's story over HTTP, tell what happened, stop
	@$(PY) -m local.demo

up: setup ## run the stack until Ctrl-C (PORT=8080, RATE_LIMITS=off for load); data stays in .local/
	@exec $(PY) -m local.up

down: setup ## stop a stack left running
	@$(PY) -m local.down

reset: setup ## stop the stack and delete its data (.local/)
	@$(PY) -m local.reset

test: setup ## run every test, with coverage, on servers of its own
	@mkdir -p build/coverage
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term:skip-covered --cov-report=xml:build/coverage/coverage.xml $(ARGS)

redrive: setup ## give the dead letters of a queue of the running stack back to it (QUEUE=events or notifications)
	@$(PY) -m local.redrive $(or $(QUEUE),events) $(ARGS)

check: setup ## lint, format, types, import contracts, house tests, CDK synth, OpenAPI
	@echo "== ruff" && $(PY) -m ruff check .
	@echo "== format" && $(PY) -m ruff format --check .
	@echo "== types" && $(PY) -m mypy
	@echo "== import contracts" && .venv/bin/lint-imports
	@echo "== house" && $(PY) -m pytest -q tests/house
	@echo "== CDK" && $(PY) -m infra.check
	@echo "== OpenAPI" && $(PY) -m functions.openapi --check

fmt: setup ## format the code and mend what the linter can
	@$(PY) -m ruff check --fix-only --quiet . ; $(PY) -m ruff format .

openapi: setup ## write the OpenAPI documents anew
	@$(PY) -m functions.openapi

bench: setup ## measure, each figure beside its peer in the same run (build/bench/*.json)
	@$(PY) -m bench.run

bench-long: setup ## the long proofs: mutation score, long loads
	@$(PY) -m bench.long

lock: setup ## resolve requirements/*.in into hash-locked requirements/*.txt (UPGRADE=1 for newer versions)
	@$(PY) -m tools.lock $(if $(UPGRADE),--upgrade)
