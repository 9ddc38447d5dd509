# Two commands do everything: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: run test lint types bench published human reward-models optimise performance robustness audit clean lock

$(STAMP): requirements.lock pyproject.toml plugins/rmbench-example/pyproject.toml plugins/rmbench-trl/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . --editable plugins/rmbench-example --editable plugins/rmbench-trl
	touch $@

run: $(STAMP)
	$(BIN)/rmbench run

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks -n 0 --benchmark-enable --benchmark-only

published: $(STAMP)
	$(BIN)/python reports/published/make.py

human: $(STAMP)
	$(BIN)/python reports/human/make.py

reward-models: $(STAMP)
	$(BIN)/python reports/reward-models/make.py

optimise: $(STAMP)
	$(BIN)/python reports/optimise/make.py

performance: $(STAMP)
	$(BIN)/python reports/performance/make.py

robustness: $(STAMP)
	$(BIN)/python reports/robustness/make.py

audit: $(STAMP)
	$(BIN)/python .ci/audit.py

lock:  # torch without the "+cpu" of the wheel at hand: the lock holds where only the registry's is
	$(PYTHON) -m piptools compile --quiet --no-header --strip-extras --all-extras --no-emit-index-url --no-emit-find-links --output-file requirements.lock pyproject.toml
	sed -i.bak -e 's/+cpu$$//' -e '/^$$/d' -e '/^# /d' requirements.lock && rm requirements.lock.bak

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
