# Each target sets up what it needs: the first call builds .venv, later ones find it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export SEEDBED_REAL_DATA ?= ../shared/data
# Many tests start processes of their own, each of which would compile the packages anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: leaderboard test check format bench gpu-check fuzz chaos
leaderboard: $(READY)
	$(BIN)/seedbed run scenes-leaderboard

# In the order of the files: those with the fewest tests are the longest, and would else be left to one process at last.
# Three processes on two cores: tests of clusters and of killed processes wait half of their time.
test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 15

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m benchmarks.assertions

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	for file in benchmarks/[a-z]*.py; do $(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; done

# A proof on a GPU in eight minutes, without network: one JSON and one page in results/gpu. Without a GPU it says so.
gpu-check: $(READY)
	$(BIN)/python -m benchmarks.gpu_check

# Hostile input in thousands of generated cases, and an S3 whose answers are lost; `make test` runs a sample of them.
fuzz: $(READY)
	SEEDBED_FUZZ_CASES=$${SEEDBED_FUZZ_CASES:-2000} $(BIN)/python -m pytest -q tests/fuzz \
		tests/harness/store/backends/test_faulty_s3.py --timeout 1200

# `seedbed run smoke` killed ten times alone and ten times beside a second run, fifty rounds of all kinds of faults on
# Ray (its own processes killed and paused, too), five whose clock is set (Debian's package faketime), five whose input
# files change, and a node that dies; `make test` does a little of it.
chaos: $(READY)
	SEEDBED_CHAOS_KILLS=$${SEEDBED_CHAOS_KILLS:-10} SEEDBED_CHAOS_ROUNDS=$${SEEDBED_CHAOS_ROUNDS:-50} \
		$(BIN)/python -m pytest -q tests/chaos tests/harness/execution --timeout 7200

# torch and torchvision come through pip: whichever build (CPU or CUDA) pip is set up to find.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch torchvision
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
