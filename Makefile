# Each target makes the virtual environment it needs. PYTHON picks the interpreter, 3.10 or newer; 3.11 is tested.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: demo test browser fuzz verify-bundles check docs bundles bench clean

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

verify-bundles: $(READY)
	$(RUN) -m pytest -m "" tests/bundles/test_model_zoo.py tests/bundles/test_round_trips.py \
	  tests/bundles/test_zoo_contribution.py tests/fit/test_adapt.py

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

clean:
	rm -rf $(VENV) demo build fuzz.log *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.txt pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
