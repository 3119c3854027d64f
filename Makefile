# Every target sets up .venv by itself. `make setup` installs once; later calls see the stamp and do nothing.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Reproducible downloads: the lock holds a hash for every file. uv installs in seconds what takes pip minutes.
REQUIREMENTS := requirements.lock

.PHONY: setup demo test lint bench lock clean

setup: $(STAMP)

$(STAMP): $(REQUIREMENTS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "inforeg needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the locked dependencies into .venv (once) ..."
	@if $(BIN)/python -m pip install --quiet uv 2>/dev/null; then \
		$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement $(REQUIREMENTS) && \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . ; \
	else \
		$(BIN)/python -m pip install --quiet --require-hashes --requirement $(REQUIREMENTS) && \
		$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . ; \
	fi
	@touch $@

demo: $(STAMP)
	@$(BIN)/inforeg demo

test: $(STAMP)
	@$(BIN)/python -m pytest

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check inforeg_cli tests

bench: $(STAMP)
	@$(BIN)/inforeg bench

# Names, versions, hashes and markers only: no index address is written into the file.
lock:
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
		--custom-compile-command "make lock" --python-version 3.11 --group dev pyproject.toml --output-file $(REQUIREMENTS)

clean:
	rm -rf .venv
