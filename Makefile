# Two commands matter: make demo, make test. Everything else is for those who work on the code.
PYTHON ?= python3
# Tests run in so many processes, each file in one of them: one more than cores, since each waits for what it started.
# In the files' order, so that what starts systems comes before the unit tests, whose files have more tests.
JOBS ?= 3
# So many times the tolerances of the benchmarks' baseline are allowed.
LENIENCE ?= 1
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := $(VENV)/.peers
# As pip does for what it copies: else each command compiles what has changed anew.
COMPILE = $(BIN)/python -m compileall -q dcss vmguest

# Compiled modules and tests are kept, whatever the environment says: each command that a test runs imports hundreds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: s390x-programs linux-agent kernel-faults docs demo test test-all lint bench bench-quick bench-baseline clean

demo: $(STAMP)
	$(BIN)/dcss run configs/demo.yaml
	$(BIN)/dcss run configs/demo-s390x.yaml
	@echo
	@echo "Next: a system of your own, which stays up:"
	@echo "  $(BIN)/dcss init demo --as mine && $(BIN)/dcss up mine.yaml -d"
	@echo "  $(BIN)/dcss ps"
	@echo "  $(BIN)/dcss exec LINUX01 -- ls /usr"
	@echo "  $(BIN)/dcss down"
	@echo "'pipx install .' installs it as dcss."
	@echo "$(BIN)/dcss docs lists the documentation."

test: $(STAMP)
	$(COMPILE)
	$(BIN)/pytest -m "not slow" -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-all: $(STAMP)
	$(COMPILE)
	HYPOTHESIS_PROFILE=long $(BIN)/pytest

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The programs of configs/demo-s390x.yaml, anew from their source: Debian's gcc-s390x-linux-gnu 12 gives the same bytes.
s390x-programs:
	$(MAKE) -C configs/s390x-programs/source

# The agent of engine linux, from its source; the built ones are kept. It needs both architectures' gcc.
linux-agent:
	$(MAKE) -C dcss/kernels/guest

# Put known faults back into Linux 6.1, one at a time, and have the bench tell each from the clean kernel. Not part of CI:
# a quarter of an hour of CPU, and 3 GB below XDG_CACHE_HOME. See docs/kernel-faults.md.
KERNEL_FAULTS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dcss/kernel-faults
kernel-faults: $(STAMP)
	tests/kernel_faults/build "$(KERNEL_FAULTS)"
	DCSS=$(BIN)/dcss tests/kernel_faults/tell "$(KERNEL_FAULTS)"

# The documentation as a site, in build/site.
docs: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet -f site/mkdocs.yml

# Everything, in about 11 minutes on a machine that does nothing else; the documentation's tables and plots are written from it.
bench: $(STAMP) $(PEERS)
	$(BIN)/python -m benchmarks run --mode full
	$(BIN)/python -m benchmarks render
	$(BIN)/python -m benchmarks check benchmarks/results.json

# Small sizes; fails where a ratio is clearly worse than in benchmarks/baseline.json.
bench-quick: $(STAMP)
	$(BIN)/python -m benchmarks run --mode quick --output build/bench/quick.json
	$(BIN)/python -m benchmarks check --lenience $(LENIENCE) build/bench/quick.json

# Three quick runs show how far ratios differ from run to run.
bench-baseline: $(STAMP)
	for run in 1 2 3; do $(BIN)/python -m benchmarks run --mode quick --output build/bench/baseline-$$run.json || exit 1; done
	$(BIN)/python -m benchmarks baseline build/bench/baseline-*.json

# The README's pictures of a report and of top, of configs/demo.yaml on this machine. They need Debian's chromium and tmux.
pictures: $(STAMP)
	mkdir -p build/pictures
	$(BIN)/dcss run configs/demo.yaml --json --evidence build/pictures/evidence.json.gz > build/pictures/result.json
	$(BIN)/dcss report build/pictures/result.json --evidence build/pictures/evidence.json.gz -o build/pictures/report.html
	$(BIN)/python docs/pictures/take.py build/pictures/report.html docs/pictures
	sed 's/^system: demo$$/system: picture/' configs/demo.yaml > build/pictures/demo.yaml
	$(BIN)/dcss up build/pictures/demo.yaml -d
	$(BIN)/python docs/pictures/take_top.py picture docs/pictures; status=$$?; $(BIN)/dcss down picture; exit $$status

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(COMPILE)
	touch $@

# Other implementations, which only benchmarks use.
$(PEERS): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	touch $@
