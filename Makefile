# The two commands of the README. Each builds .venv at first use and starts at once after that.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Python compiles what it imports and keeps it; to compile all of twenty thousand files first takes a
# minute. Where the environment forbids to keep it, every process would compile all it imports again.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
STAMP := $(VENV)/installed-$(shell cksum pyproject.toml | cut -d' ' -f1)

.PHONY: demo test packages pytest quick check weights fuzz ecosystem
demo: $(STAMP)
	$(BIN)/python -m edgekit.demo

# Brings Debian's packages while .venv is built, or before it where Python lacks its venv module.
test:
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || $(MAKE) packages
	$(MAKE) --jobs=2 packages $(STAMP)
	$(MAKE) --jobs=2 check pytest

packages:
	PYTHON="$(PYTHON)" tests/system_packages.sh

# Three processes on two cores, for some tests wait.
pytest: $(STAMP)
	tests/in_memory.sh $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

# What tells in some minutes whether another Python will do: the command line, the files that users
# write, conversion by every backend, the runner and plug-ins.
#     make quick PYTHON=python3.13 VENV=.venv-3.13
QUICK := cli commands artifact toml_files targets runtimes convert runner plugins
quick: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" $(QUICK:%=tests/test_%.py)

# Ten thousand damaged files for every reader together, others each time; `make test` has 500.
fuzz: $(STAMP)
	EDGEKIT_FUZZ=10000 $(BIN)/python -m pytest -q tests/test_fuzz.py

# Trains again what is too large to ship: make weights UTKFACE=path/to/utkface.zip (hours; resumes).
weights: $(STAMP)
	$(BIN)/edgekit weights --data "$(UTKFACE)"

# Sends the networks of timm, torchvision, ultralytics, transformers and others through the conversion (hours; resumes).
ecosystem:
	test -d .venv-ecosystem || $(PYTHON) -m venv .venv-ecosystem
	.venv-ecosystem/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-ecosystem/bin/pip install --quiet --disable-pip-version-check -e '.[onnx,tflite,openvino,ncnn]' -r benchmarks/ecosystem/requirements.txt
	.venv-ecosystem/bin/pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/ecosystem/trained.txt
	.venv-ecosystem/bin/python benchmarks/ecosystem/run.py
	.venv-ecosystem/bin/python benchmarks/ecosystem/table.py

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(STAMP):
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) torch==2.13.0 -e '.[dev]'
	rm -f $(VENV)/installed-*
	touch $@
