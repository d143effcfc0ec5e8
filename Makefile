# Each target makes the virtual environment it needs. PYTHON picks the interpreter, 3.10 or newer; 3.11 is tested.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
GPU_VENV := .venv-gpu
GPU_RUN := $(GPU_VENV)/bin/python
GPU_READY := $(GPU_VENV)/.ready

.PHONY: demo test browser fuzz test-slow check docs bundles bench gpu clean

demo: $(READY)
	$(RUN) -m benchmarks.demo --output-dir demo

test: check browser
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Chromium for the tests of medsize measure; without it they are skipped.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } || \
	  echo "no Chromium, and it cannot be installed here: tests in a browser are skipped"

# In one process; fuzz.log says how far it is, and a further call with SEED goes on there.
MUTATIONS ?= 10000
SEED ?= 0
fuzz: $(READY)
	OMP_NUM_THREADS=1 $(RUN) -m tests.fuzz --mutations $(MUTATIONS) --seed $(SEED) --log fuzz.log

test-slow: $(READY)
	$(RUN) -m pytest -m slow

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(RUN) -m bundles.source.assemble --check
	$(MAKE) docs

# The site, build/site/index.html. It loads nothing from the network, and neither does its making.
# Not with --quiet, which would hide warnings from --strict, too.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

bundles: $(READY)
	$(RUN) -m bundles.source.assemble

bench: $(READY)
	$(RUN) -m benchmarks

# On a machine with a CUDA device: its tests, then its benchmark, with the torch that PYTHON has. Elsewhere both skip.
gpu: $(GPU_READY)
	$(GPU_RUN) -m pytest -m gpu tests/gpu
	$(GPU_RUN) -m benchmarks.gpu

clean:
	rm -rf $(VENV) $(GPU_VENV) demo build fuzz.log *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PYTHON's torch stays as it is: a .pth file leads to it, and a constraint keeps pip from another one. The tested
# versions of the rest are tried first; they may not fit that torch or that Python.
GPU_PIP := $(GPU_RUN) -m pip install --quiet --disable-pip-version-check --editable . pytest hypothesis
$(GPU_READY): requirements.txt pyproject.toml setup.py
	@$(PYTHON) -c "import torch" || { echo "$(PYTHON) has no torch. Name one that has: make gpu PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(GPU_VENV)
	$(PYTHON) -c "import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))" \
	  > $$($(GPU_RUN) -c "import sysconfig; print(sysconfig.get_path('purelib'))")/torch_of_the_machine.pth
	$(PYTHON) -c "from importlib.metadata import version; print('torch==' + version('torch'))" > $(GPU_VENV)/torch.txt
	grep -v '^torch==' requirements.txt > $(GPU_VENV)/tested.txt
	$(GPU_PIP) -c $(GPU_VENV)/torch.txt -c $(GPU_VENV)/tested.txt || $(GPU_PIP) -c $(GPU_VENV)/torch.txt
	touch $@

$(READY): requirements.txt pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
