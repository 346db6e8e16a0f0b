# Every target sets up what it needs first; the second time that takes no time.
DB ?= sqlite
NAME ?= default
KEEP ?= 0
JOBS ?= 2
TESTS ?=
LIST ?= 0
FULL ?= 0
PAIRS ?=
BUDGET ?= 1170
CHAIN ?= all
ONLY ?=
MINUTES ?= 60
SEED ?= 1
SEEDS ?= 0..999
WORKERS ?= 1
PY := .venv/bin/python

# Everything, all pairs, all of the flows that are named, or what fits.
HOW_MUCH = $(if $(filter 1,$(FULL)),--full,$(if $(PAIRS),--all-pairs,$(if $(ONLY)$(filter-out all,$(CHAIN)),,--budget $(BUDGET))))

.DEFAULT_GOAL := help
.PHONY: help demo test up bench faults simulate soak bad-days guards check

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## the main job on three real chains and a token, told as it happens (two minutes)
	@scripts/setup demo
	@.venv/bin/coffer demo

test: check  ## check, then the whole suite on real nodes, Redis, SQLite and MariaDB (TESTS=path JOBS=2)
	@scripts/setup test
	@TMPDIR=$$(scripts/scratch) $(PY) -m pytest -n $(JOBS) $(TESTS)

up:  ## the same stack kept running, in .run/NAME (DB=mariadb NAME=default KEEP=1); Ctrl-C ends it
	@scripts/setup up --db $(DB)
	@exec .venv/bin/coffer up --db $(DB) --name $(NAME) $(if $(filter 1,$(KEEP)),--keep)

bench:  ## measured figures, each beside its limit
	@scripts/setup test
	@$(PY) -m bench

faults:  ## die at crash points, start again, check the invariants (20 min; BUDGET=1170 SEED=1 FULL=1 PAIRS=all LIST=1 DB CHAIN ONLY)
	@scripts/setup test
	@$(PY) -m tests.faults $(if $(filter 1,$(LIST)),--list) $(if $(filter-out file,$(origin DB)),--db $(DB)) \
		--chain $(CHAIN) $(foreach flow,$(ONLY),--only $(flow)) --seed $(SEED) $(HOW_MUCH)

guards:  ## take each guard out of a copy of the code, and demand that its tests fail (ONLY=text)
	@scripts/setup test
	@TMPDIR=$$(scripts/scratch) $(PY) -m tests.guards $(foreach text,$(ONLY),--only "$(text)")

simulate:  ## the engine on a seed: every clock, death, lie and reorganisation by chance (SEEDS=0..999 WORKERS=1)
	@scripts/setup test
	@TMPDIR=$$(scripts/scratch) $(PY) -m tests.simulation --seeds $(SEEDS) --workers $(WORKERS)

soak:  ## traffic on three chains while all is killed, cut off, slowed (MINUTES=60 SEED=1 DB=mariadb)
	@scripts/setup test
	@TMPDIR=$$(scripts/scratch) $(PY) -m tests.soak --minutes $(MINUTES) --seed $(SEED) \
		$(if $(filter-out file,$(origin DB)),--db $(DB))

bad-days:  ## three chains under traffic while each process is killed in turn (some minutes)
	@scripts/setup test
	@$(PY) -m pytest -n 0 -m long tests/integration

check:  ## ruff, mypy and the import contracts
	@scripts/setup check
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports
