# make train   a robot learns: environment, three processes, live display, evaluation, pictures
# make test    all tests but the soaks and the long learning gates
# make learn   the learning gates: each of the six generations and each kind of data on a tiny task; broken learners fail
# make lint    style, types, and the rule about which room may import which
# make docs    the documentation as a site, in build/site; a link that leads nowhere ends it
# make clean   removes the environment (never a run)
#
# ARGS="..." goes to the command: make train ARGS="--minutes 5"; make test ARGS="-k spec". PYTHON=... picks the Python.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
export PYTHON
# Where ROS 2's tools look up packages; without it none is found in a virtual environment.
export AMENT_PREFIX_PATH := $(CURDIR)/$(VENV)$(if $(AMENT_PREFIX_PATH),:$(AMENT_PREFIX_PATH))

.PHONY: train test learn lint docs environment clean help

train: environment
	@exec $(BIN)/robot-dreamer train --robot cartpole --preset cpu_small --set compile=true --minutes 10 --speed 6 --logdir runs/cartpole $(ARGS)

# Two hundred programs start in these tests: what Python compiles is kept, also where it is told not to.
test: environment
	@PYTHONDONTWRITEBYTECODE= exec $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

learn: environment
	@exec $(BIN)/python -m pytest tests/learning -m "not soak" $(ARGS)

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: environment
	@$(BIN)/python -c 'import mkdocs, material' 2>/dev/null || $(BIN)/pip install --quiet --constraint constraints.txt mkdocs-material
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

environment:
	@scripts/make_environment.sh $(VENV)

clean:
	rm -rf $(VENV) build install log *.egg-info

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile
