# Each target makes the virtual environment it needs. PYTHON picks the interpreter, 3.10 or newer; 3.11 is tested.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: demo test verify-bundles check bundles bench clean

demo: $(READY)
	$(RUN) -m benchmarks.demo --output-dir demo

test: check
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

verify-bundles: $(READY)
	$(RUN) -m pytest -m "" tests/bundles/test_model_zoo.py tests/bundles/test_round_trips.py

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(RUN) -m bundles.source.assemble --check

bundles: $(READY)
	$(RUN) -m bundles.source.assemble

bench: $(READY)
	$(RUN) -m benchmarks

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.txt pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
