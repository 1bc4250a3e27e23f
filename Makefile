# Everything a user runs; see README.md. Targets make .venv first where it is absent or outdated.
.ONESHELL:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install report test check lint bench lock clean
install: $(STAMP)

# uv installs in seconds and hard-links packages from its cache, so that a second environment costs no disk;
# where it is absent, pip brings it in a small environment of its own, and the user's Python stays as it was.
$(STAMP): pyproject.toml requirements.lock
	if command -v uv >/dev/null 2>&1; then UV=uv; else
	  [ -x .venv/bootstrap/bin/uv ] || { $(PYTHON) -m venv .venv/bootstrap; .venv/bootstrap/bin/pip install --quiet uv; }
	  UV=.venv/bootstrap/bin/uv
	fi
	[ -x $(BIN)/python ] || "$$UV" venv --quiet --allow-existing --python $(PYTHON) .venv
	"$$UV" pip install --quiet --python $(BIN)/python --requirement requirements.lock
	"$$UV" pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
	echo "installed: $(BIN)/vireid"

lock:
	uv pip compile --universal --extra dev pyproject.toml --output-file requirements.lock --no-emit-index-url --upgrade --quiet
