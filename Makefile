# Every task of the project, one target each; `make help` lists them.
VENV    := .venv
BIN     := $(VENV)/bin
PYTHON  ?= python3
RUSHES  := $(BIN)/rushes

.DEFAULT_GOAL := help
.PHONY: help setup up demo test check bench generate constraints

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Create .venv with everything in it

$(VENV)/.ready: pyproject.toml constraints.txt package-lock.json hatch_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[studio,dev]'
	@touch $@

up: setup ## Run the control room and the studio on this machine
	$(RUSHES) up

demo: setup ## Submit a few prompts to a running `make up`
	$(RUSHES) generate "a blue square moves left" --model OPENSORA --out-dir demo
	$(RUSHES) generate "a red heart moves up" --model MOCHI1 --out-dir demo
	$(RUSHES) generate "a yellow ball bounces" --model LTX2 --out-dir demo

test: setup ## Run the tests
	$(BIN)/python -m pytest

check: setup ## Format, lint, types, generated files, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m rushes.catalog.generate --check

bench: setup ## Run the benchmarks
	$(BIN)/python -m benchmarks

generate: setup ## Rewrite the generated files (docs/reference)
	$(BIN)/python -m rushes.catalog.generate

constraints: setup ## Rewrite constraints.txt from what is installed
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//' | sort -f > constraints.txt
