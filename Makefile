# Short names for scripts/; each script tells in its first lines what it does.
.PHONY: help setup demo test lint generate format clean

help:      ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/: .*## */\t/'

setup:     ## install what is missing
	@scripts/setup

demo: setup ## two finetunes on a local cluster; KEEP=1 leaves the cluster up
	@scripts/demo $(if $(KEEP),--keep)

test: setup ## checks and tests
	@scripts/lint
	@scripts/test

lint: setup ## style, types, import rules, generated files
	@scripts/lint

generate: setup ## write every generated file
	@.venv/bin/python scripts/generate

format: setup ## format the code
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix --quiet .

clean:     ## stop local clusters and remove what was built in this folder
	@-.venv/bin/python -m tests.cluster down
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-results
