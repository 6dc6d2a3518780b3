# `make demo` and `make test` work on a bare Linux machine with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-processors smoke lint clean

demo: .venv/installed
	$(BIN)/ase-kan demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-processors: .venv/installed
	.ci/processors

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# sdist, wheel, no compiler, oldest dependencies, other Pythons: each in a fresh environment.
smoke:
	.ci/smoke $(PYTHON)

# torch first and by itself: an unpinned torch would bring gigabytes of CUDA packages.
.venv/installed: pyproject.toml constraints.txt CMakeLists.txt $(wildcard ase_kan/engines/kernel/*)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,lint]'
	touch $@

clean:
	rm -rf .venv build dist ase-kan-demo
