# make demo | test | check | nightly (slow | mutations | chips | newest) | lock | docs | web | web-test | bench | format | clean
#
# Needs Python >= 3.11, git and make. A target makes the virtual environment that it runs in: .venv with python3, or
# .venv-<version> with the interpreter of PYTHON=python3.12. The packages are those of requirements.txt, which `make lock`
# writes: one set of versions for each Python. They are installed again only when it or pyproject.toml change. `make newest`
# tests with the newest versions there are, and shows which those are. WORKERS=1 runs pytest in one process instead of two; PYTEST="tests/geometry -x" are its arguments.
# BENCH="--case=sampling --compare" are those of the benchmark. The documentation site needs packages of its own (extra `docs`),
# which `make docs` and `make nightly` install, and so `make nightly` with `ray`. `make web` builds the page for browsers from the registries of Python and npm (node >= 20);
# `make chips` makes .venv-chips with the compilers of TPUs and GPUs (x86 Linux, 7 GB), and compiles the short list of experiments.chips.
# WEB_MODEL=FILE.safetensors HYPOTHESES=40 are its few-step model and how many poses it draws.

WORKERS := 2
PYTEST :=
BENCH :=
REQUIREMENTS := requirements.txt
WEB_MODEL := pose17_fast
HYPOTHESES := 20

ifeq ($(origin PYTHON),undefined)
PYTHON := python3
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
endif
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# NPROC is XLA's number of threads: each worker keeps to one core.
ifneq ($(WORKERS),1)
nproc := NPROC=1
xdist := -n $(WORKERS) --dist worksteal
endif

.PHONY: demo test check nightly slow mutations newest lock docs web web-test bench chips format clean

demo: $(VENV)/installed-video
	$(BIN)/python -m experiments.demo --out demo_out

test: check
	$(nproc) $(BIN)/python -m pytest -m "not slow" $(xdist) $(PYTEST)

check: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

# a part that fails does not hide the others
nightly:
	$(MAKE) --keep-going slow mutations chips newest

slow: docs $(VENV)/installed-ray
	$(nproc) $(BIN)/python -m pytest -m slow $(xdist) $(PYTEST)

mutations: $(STAMP)
	NPROC=1 $(BIN)/python tests/mutations.py

# pip warns of packages past pyproject's bounds and installs them: whether they work is the question.
newest:
	$(MAKE) VENV=.venv-newest REQUIREMENTS=.ci/requirements.in .venv-newest/installed
	.venv-newest/bin/python -m pip install --disable-pip-version-check --quiet --upgrade --upgrade-strategy eager -r .ci/requirements.in
	.venv-newest/bin/python -m pip install --disable-pip-version-check --quiet --upgrade jax jaxlib flax optax numpy orbax-checkpoint
	.venv-newest/bin/python -m pip freeze --exclude-editable | diff requirements.txt - || true
	$(MAKE) VENV=.venv-newest REQUIREMENTS=.ci/requirements.in test

lock: $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet uv
	$(BIN)/uv pip compile .ci/requirements.in --universal --python-version 3.11 --upgrade --quiet --no-annotate \
		--custom-compile-command "make lock" --output-file requirements.txt

docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "wrote build/docs/index.html"

web: $(STAMP)
	mkdir -p build/web
	$(BIN)/jaxpose export --format onnx --task lift --model $(WEB_MODEL) --hypotheses $(HYPOTHESES) --skeleton mediapipe33 --out build/web/lift.onnx
	$(BIN)/python -m experiments.web.facts build/web/lift.onnx
	cd experiments/web && npm ci --ignore-scripts --no-audit --no-fund
	node experiments/web/build.mjs build/web

web-test: web
	$(nproc) $(BIN)/python -m pytest -m slow tests/experiments/web_test.py

bench: $(STAMP)
	$(BIN)/python -m experiments.benchmark $(BENCH)

# the locked versions, and for that of JAX the compilers
chips: $(STAMP)
	$(MAKE) VENV=.venv-chips .venv-chips/compilers
	$(BIN)/python -m experiments.chips --short --check

.venv-chips/compilers: .venv-chips/installed
	.venv-chips/bin/python -m pip install --disable-pip-version-check --quiet "jax[tpu,cuda12]"
	@touch $@

format: $(STAMP)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf build dist demo_out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find jaxpose experiments tests -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml $(REQUIREMENTS)
	@$(PYTHON) -c '' || { echo "make: $(PYTHON) does not run; name a Python >= 3.11 by PYTHON=" >&2; exit 1; }
	@$(PYTHON) .ci/venv.py $(VENV)
	@echo "installing into $(VENV): some minutes the first time"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r $(REQUIREMENTS)
	@touch $@

$(VENV)/installed-%: $(STAMP)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -e ".[$*]"
	@touch $@
