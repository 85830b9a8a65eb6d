# SPDX-License-Identifier: Apache-2.0
# Each target makes what it needs, from a fresh clone on.
#   make demo   the whole story: simulate, record, learn without labels, judge, run live; writes out/demo.png
#   make test   the whole test suite
#   make lint   ruff and mypy
#   make bench  the benchmarks, each printing ratios
#   make evidence, make evidence-short  the main table of the results; goes on where it was interrupted (docs/studies.md)
#   make ablations  all other studies but `renderer`, some hours; likewise
#   make build  the workspace alone; `. ./env.sh` then puts it on a shell's path
#   make lock   resolve requirements/*.lock anew
#   make clean  remove everything that was made
# Variables: PYTHON=python3.12 chooses the interpreter, TORCH=cuda the GPU build of PyTorch; both are remembered.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.PHONY: build demo test lint bench evidence evidence-short ablations lock clean force

export PYTHON TORCH
VENV := .venv/.made
BUILT := install/.made
ENVIRONMENT := . ./env.sh

demo: $(BUILT)
	@$(ENVIRONMENT) && python tools/demo.py

test: $(BUILT)
	@$(ENVIRONMENT) && python -m pytest $(PYTEST_ARGS)

lint: $(BUILT)
	@$(ENVIRONMENT) && ruff check && ruff format --check && mypy

bench: $(BUILT)
	@$(ENVIRONMENT) && for script in benchmarks/*.py; do echo "== $$script"; python "$$script"; done

evidence: $(BUILT)
	@$(ENVIRONMENT) && radio-visual-ssl study evidence

evidence-short: $(BUILT)
	@$(ENVIRONMENT) && radio-visual-ssl study evidence --short

ablations: $(BUILT)
	@$(ENVIRONMENT) && radio-visual-ssl study $(filter-out evidence renderer,$(basename $(notdir $(wildcard config/studies/*.yaml))))

build: $(BUILT)

# Another interpreter, build of PyTorch or sourced ROS wants another environment.
.choices: force
	@tools/choose.sh >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(VENV): .choices requirements/bare.lock requirements/ros_host.lock requirements/torch.txt tools/make_venv.sh
	@tools/make_venv.sh
	@touch $@

# Under --symlink-install a change inside a Python file needs no build, a new or removed file does.
build/sources.txt: force
	@mkdir -p build
	@find $(wildcard radio_visual_ssl scripts launch config models rviz compat) -type f ! -name '*.pyc' ! -path '*/build/*' | sort >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

INTERFACES := $(shell find msg srv compat -name '*.msg' -o -name '*.srv' -o -name '*.action')
DESCRIPTIONS := $(shell find . compat -maxdepth 2 \( -name CMakeLists.txt -o -name package.xml -o -name '*.cmake' \) ! -path './build/*' ! -path './install/*')

$(BUILT): $(VENV) build/sources.txt $(INTERFACES) $(DESCRIPTIONS) tools/build.sh tools/underlay.sh
	@echo "build: colcon (about a minute the first time)"
	@tools/build.sh
	@touch $@

lock: $(VENV)
	@.venv/bin/python -m pip install --quiet uv
	@cd requirements && for name in bare ros_host; do \
	  ../.venv/bin/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header \
	    --override without_torch.txt $$name.in -o $$name.lock; done

clean:
	rm -rf .venv .choices build install log out .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
