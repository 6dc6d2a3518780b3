# `make demo` and `make test` work on a bare Linux machine with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-processors docs docs-links smoke lint clean

demo: .venv/installed
	$(BIN)/ase-kan demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-processors: .venv/installed
	.ci/processors

# The pages, in docs/_build/html; a warning is an error. docs-links asks every link, so it needs the internet.
docs: .venv/docs
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -q -W --keep-going docs docs/_build/html

docs-links: .venv/docs
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -q -b linkcheck -D plot_gallery=0 docs docs/_build/links

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

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv build dist ase-kan-demo docs/_build docs/examples docs/gallery_sources
