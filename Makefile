# make demo | make test | make bench NAME=... | make lint | make format | make lock
SHELL := bash
RUN := . tools/env.sh &&
NAME ?=

.PHONY: help setup demo demo-training test test-deep bench lint format lock clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## virtual environment, npm packages, compiled contracts
	@tools/setup.sh

demo: setup ## the main job: honest and cheating provers of a real network on a local chain
	@$(RUN) python -m demo

demo-training: setup ## the same for training: trainers who cheat, caught and slashed step by step
	@$(RUN) python -m demo.training

test: setup ## all tests
	@$(RUN) tools/test.sh

test-deep: setup ## the same with many more random moves and fuzz runs
	@$(RUN) HYPOTHESIS_PROFILE=deep FOUNDRY_PROFILE=deep tools/test.sh

bench: setup ## make bench NAME=overhead measures and writes results/overhead.json; with AGAIN=1 training is measured anew
	@$(RUN) python -m benchmarks "$(NAME)" $(if $(AGAIN),--again)

lint: setup ## linters and formatters of both languages, without changing anything
	@$(RUN) ruff check . && ruff format --check . && forge fmt --check contracts tests/forge tests/support/solidity && solhint --noPoster --disc 'contracts/**/*.sol'

format: setup ## let the formatters change the files
	@$(RUN) ruff check --fix . && ruff format . && forge fmt contracts tests/forge tests/support/solidity

lock: ## recompile requirements.lock from requirements.in (needs uv)
	uv pip compile requirements.in --override tools/lock-overrides.txt --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 -o requirements.lock

clean: ## remove what setup and runs made, but accounts, the local store and members' votes
	rm -rf .venv node_modules .build .forge .setup-done
	find .ape .runs -mindepth 1 -maxdepth 1 ! -name accounts ! -name store ! -name state -exec rm -rf {} + 2> /dev/null || true
