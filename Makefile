# Everything a user runs; see README.md. Targets make .venv first where it is absent or outdated.
.ONESHELL:
.SILENT:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
export BUDGET RELEASED
BIN := .venv/bin
STAMP := .venv/.installed
ALL_EXTRAS := .venv/.extras
UV := $$(command -v uv || echo .venv/bootstrap/bin/uv)

.PHONY: install extras report test check bench accelerator paper docs soak lock
# EXTRAS=deploy,edge brings those extras of pyproject.toml, too, at the versions of the lock.
install: $(STAMP)
	if [ -n "$(EXTRAS)" ]; then
	  "$(UV)" pip install --quiet --python $(BIN)/python --constraint requirements-extras.lock --editable ".[$(EXTRAS)]"
	  echo "installed: $(EXTRAS)"
	fi
extras: $(ALL_EXTRAS)

# uv installs in seconds and hard-links packages from its cache, so that a second environment costs no disk;
# where it is absent, pip brings it in a small environment of its own, and the user's Python stays as it was.
$(STAMP): pyproject.toml requirements.lock
	command -v uv >/dev/null || [ -x .venv/bootstrap/bin/uv ] || {
	  echo "bringing uv"; $(PYTHON) -m venv .venv/bootstrap; .venv/bootstrap/bin/pip install --quiet uv
	}
	echo "installing into .venv (the first time downloads torch; minutes on a slow line)"
	[ -x $(BIN)/python ] || "$(UV)" venv --quiet --allow-existing --python $(PYTHON) .venv
	"$(UV)" pip install --quiet --python $(BIN)/python --requirement requirements.lock
	"$(UV)" pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
	echo "installed: $(BIN)/vireid"

# Every extra that has a wheel for this platform, at the versions of the lock: what `make check` tests must be there.
$(ALL_EXTRAS): $(STAMP) requirements-extras.lock
	"$(UV)" pip install --quiet --python $(BIN)/python --requirement requirements-extras.lock
	touch $@
	echo "installed: every extra"

# The main job: render a dataset, run the quick ablation of IDKL, profile it, write the report.
report: $(STAMP)
	$(BIN)/vireid ablate ablations/quick.yaml --report

# Lint, types, import contracts, files of other people's boards, fast tests: at most 5 minutes on two AVX2 cores.
test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/vireid results check-devices --store results
	$(BIN)/pytest -m "not check and not soak" -n 2

# Contracts over every component and a smoke study from pixels to HTML, with every extra: at most 10 minutes more.
check: $(ALL_EXTRAS)
	$(BIN)/pytest -m check -n 2 --dist worksteal

# The suite's own speed, each figure beside what it is measured against.
bench: $(STAMP)
	$(BIN)/pytest benchmarks --benchmark-only --override-ini testpaths=benchmarks --override-ini python_files='bench_*.py'
	$(BIN)/python -m benchmarks.growth

# Damaged inputs of every kind, 2,200 by default (COUNT of each): read, or refused in words. Minutes.
# And a study under KILLS (50) kills at random moments: its records are those of an undisturbed one. A quarter of an hour.
# And studies on a Ray cluster of three nodes that loses some, and full disks: minutes each on a machine that does nothing else.
soak: $(ALL_EXTRAS)
	$(BIN)/python -m tests.mutations $(or $(COUNT),200)
	$(BIN)/python -m tests.kills $(or $(KILLS),50)
	$(BIN)/pytest -m soak -n 0

# What only a CUDA device shows, in BUDGET seconds (480): tests, training steps, deployed model, ranking, a fit of full size.
# RELEASED=PATH adds the released code. Where torch is already installed: python3 benchmarks/accelerator.py.
accelerator: $(STAMP)
	$(BIN)/python benchmarks/accelerator.py $(if $(TO),--to "$(TO)")

# The sample paper: tables, figures and numbers of committed studies. A number that no record gives stops it.
paper:
	command -v pdflatex >/dev/null || { echo "no TeX here; apt-get install texlive-latex-extra texlive-science texlive-fonts-recommended" >&2; exit 2; }
	cd docs/paper
	for pass in 1 2 3; do  # the second knows what is cited, the third where tables, figures and references came to stand
	  pdflatex -interaction=nonstopmode -halt-on-error paper.tex >/dev/null || { grep -m1 -A4 "^!" paper.log >&2; echo "docs/paper/paper.log has more" >&2; exit 1; }
	  [ $$pass != 1 ] || bibtex -terse paper >/dev/null || { cat paper.blg >&2; exit 1; }
	done
	echo "docs/paper/paper.pdf"

# The pages of docs/ as a site with search; a broken link stops it.
docs: $(STAMP)
	[ -x $(BIN)/mkdocs ] || "$(UV)" pip install --quiet --python $(BIN)/python --constraint requirements-extras.lock --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict >site.log 2>&1 || { grep -E "WARNING|ERROR|Aborted" site.log >&2; rm site.log; exit 1; }
	rm site.log
	echo "site/index.html"

lock:
	uv pip compile --universal --extra dev pyproject.toml --output-file requirements.lock --no-emit-index-url --upgrade --quiet
	uv pip compile --universal --all-extras pyproject.toml --constraint requirements.lock --output-file requirements-extras.lock --no-emit-index-url --quiet
