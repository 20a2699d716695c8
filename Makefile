# make demo  judges a detector in a simulated warehouse, make demo SPEC=config/warehouse.qa.yaml a
# robot on patrol there, make demo FAULT=NAME the example robot of the quickstart with a fault;
# make test runs the tests.
# Both set up what they need in .venv; in a sourced ROS workspace they use its ROS.
# make colcon  builds and tests this package, and one of a user, in a workspace made for it.
PYTHON ?= python3
FAULT ?=
SPEC ?= config/$(if $(FAULT),quickstart,detector).qa.yaml
SET ?=
# Three at a time: much of a live test is waiting. A file's tests stay together.
PYTEST_ARGS ?= -n 3 --dist loadfile

# The wheels' distribution where no workspace is sourced: kilted or jazzy.
DISTRO := $(if $(filter jazzy,$(ROS_DISTRO)),jazzy,kilted)
VENV := $(if $(filter jazzy,$(DISTRO)),.venv-jazzy,.venv)
ROS := $(if $(filter jazzy,$(DISTRO)),ros-jazzy,ros)
READY := $(VENV)/.ready
BIN := $(VENV)/bin
# A sourced workspace has its own rclpy, which nothing from PyPI may shadow.
SOURCED := $(shell test -n "$$AMENT_PREFIX_PATH" && $(PYTHON) -c 'import rclpy' 2>/dev/null && echo yes)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export ROS_LOG_DIR ?= /tmp/robot_qa_logs

.PHONY: demo test colcon venv lint types rules clean

demo: $(READY)
	robot_qa run $(SPEC) $(if $(FAULT),--set fault=$(FAULT)) $(addprefix --set ,$(SET))

# The live ones by themselves, as what computes takes their time. On a machine that is too busy all
# the same a robot may truly be too slow: what fails is run once more, one by one, and is red if it
# fails again. 5 is pytest's code for no tests, as PYTEST_ARGS may select some.
NO_TESTS := [ $$? -eq 5 ]
test: $(READY)
	python -m pytest $(PYTEST_ARGS) -m 'not live' || $(NO_TESTS)
	python -m pytest $(PYTEST_ARGS) -m live || $(NO_TESTS) \
	  || python -m pytest -m live --last-failed --last-failed-no-failures none

# colcon in a folder of its own, so that its many plugins stay out of the environment.
COLCON := $(CURDIR)/$(VENV)/colcon
# Of our own tests only some: make test runs them all.
COLCON_TESTS ?= test/test_monitors.py test/test_beside.py

$(COLCON)/.ready: | $(READY)
	rm -rf $(COLCON)
	$(BIN)/python -m pip install --quiet --target $(COLCON) colcon-common-extensions 'setuptools<80'
	@touch $@

colcon: $(COLCON)/.ready
	COLCON_TESTS='$(COLCON_TESTS)' PYTHONPATH=$(COLCON)$${PYTHONPATH:+:$$PYTHONPATH} \
	  PATH=$(COLCON)/bin:$$PATH $(if $(SOURCED),,AMENT_PREFIX_PATH=$(CURDIR)/$(VENV)) \
	  test/workspace/try_colcon

lint: $(READY)
	ruff check .

types: $(READY)
	mypy

rules: $(READY)
	python -m pytest test/test_house_rules.py

venv: $(READY)

$(READY): setup.py package.xml Makefile $(shell find interfaces -type f)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo 'missing: Python 3.10 or newer ($(PYTHON) is older; set PYTHON=...)'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'missing: the venv module (Debian and Ubuntu: apt install python3-venv)'; exit 1; }
	@command -v g++ >/dev/null \
	  || { echo 'missing: a C++ compiler (Debian and Ubuntu: apt install g++)'; exit 1; }
ifeq ($(SOURCED),yes)
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[sim,test]'
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[$(ROS),sim,test]'
endif
	$(BIN)/robot_qa interfaces build interfaces
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache robot_qa_runs
