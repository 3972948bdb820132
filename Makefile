# Two commands do everything: `make train` and `make test`. Both create .venv on first use.
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
ARGS ?=
# processes that tests run in; JOBS=0 runs them in one, as a debugger wants it
JOBS ?= auto
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS := $(VENV)/.docs

HERE := PYTHONPATH=$(CURDIR)/src MIDFRAME_GPU_CHECK=1 $(PYTHON)

.PHONY: install train evaluate test test-slow coverage gpu-check lint docs clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev,sample]'
	touch $@

train: $(STAMP)
	$(BIN)/python train.py $(ARGS)

evaluate: $(STAMP)
	$(BIN)/python evaluate.py $(ARGS)

test: lint
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --dist worksteal $(ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow -n $(JOBS) --maxprocesses 4 --dist worksteal $(ARGS)

# The fast group, with what it does not reach, by branch; ARGS="tests/data --cov=midframe.data" asks
# for a part, build/coverage/html shows it in the source. It takes half as long again as the tests.
coverage: $(STAMP)
	mkdir -p build/coverage
	$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --dist worksteal -q --cov \
		--cov-report term-missing:skip-covered --cov-report html $(ARGS)

# On any CUDA machine with PyTorch and CuPy, nothing installed: make gpu-check PYTHON=python3
gpu-check:
	@$(HERE) -m midframe.cli doctor --require cupy
	@if $(HERE) -c "import pytest" 2>/dev/null; then $(HERE) -m pytest tests/ops -q $(ARGS); \
	else echo "pytest is not installed: the operators are measured, not tested" >&2; fi
	@$(HERE) -m midframe.cli bench ops --device cuda \
		--save 'benchmarks/gpu-{device}.json' --table docs/benchmarks.md >/dev/null
	@$(HERE) -c "import pytest" 2>/dev/null || { echo "not tested: pip install pytest" >&2; exit 1; }

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: $(DOCS)
	$(BIN)/python -m sphinx -E -W --keep-going -q -c docs/site -d build/doctrees . build/site
	@echo build/site/index.html

$(DOCS): $(STAMP)
	$(BIN)/pip install -q --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
