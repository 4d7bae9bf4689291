# Everything a developer does, each from a clean clone. `make` alone lists it.
# Another interpreter: make test PYTHON=python3.13 (it gets a virtual environment of its own, .venv-3.13).

PYTHON ?= python3
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIND ?= 127.0.0.1:8000

BIN := $(CURDIR)/$(VENV)/bin
RUN := "$(BIN)/python" -m
SETUP := PYTHON="$(PYTHON)" scripts/setup

# Tests start hundreds of processes, and each would compile all of Triolet anew.
unexport PYTHONDONTWRITEBYTECODE

SECONDS ?= 3600
FIRST ?= $(shell date +%Y%m%d)0000000

EXAMPLES := $(notdir $(patsubst %/app.py,%,$(wildcard examples/*/app.py)))

.PHONY: help demo examples $(EXAMPLES) check test test-without-linux hunt autobahn lint docs pictures types bench churn dist clean

help: examples
	@echo
	@echo 'Each is served at http://$(BIND), with its log in SQLite (BIND=127.0.0.1:9000: elsewhere); make demo is the shop.'
	@echo
	@echo 'make check               ruff, mypy and the tests that run in memory: two minutes at most, before each commit'
	@echo 'make test                ruff, mypy and all of pytest, some ten minutes (ARGS="-k cursor" chooses tests)'
	@echo 'make test-without-linux  the tests that run in memory, without what only Linux has'
	@echo 'make hunt                the simulation, on new seeds, for an hour (SECONDS=28800: a night)'
	@echo 'make autobahn            the Autobahn cases of compression, some eight minutes'
	@echo 'make lint                ruff and mypy alone'
	@echo 'make docs                the documentation, in docs/_build/html'
	@echo 'make pictures            the pictures of the examples, each from the running one'
	@echo 'make types               the declarations of the npm package, anew, from its JSDoc'
	@echo 'make bench               the benchmarks, beside the peers, some 60 minutes (ARGS=--quick: an impression in sixteen)'
	@echo 'make churn               200,000 clients leave at every stage: nothing is left of them; some eight minutes'
	@echo 'make dist                a release in dist/: sdist, wheel and npm package, checked, installed and tried'
	@echo 'make clean               remove what the others made'

demo: shop

examples:
	@for name in $(EXAMPLES); do printf 'make %-20s%s\n' $$name "$$(sed -n 's/^> //p;/^> /q' examples/$$name/README.md)"; done

$(EXAMPLES):
	@$(SETUP) venv $(VENV) $(if $(filter-out shop,$@),examples)
	@$(SETUP) front $@
	cd examples/$@ && exec "$(BIN)/triolet" serve app:app --bind $(BIND)

check:
	@$(SETUP) venv $(VENV) dev
	@PYTHON="$(BIN)/python" scripts/check

test:
	@$(SETUP) venv $(VENV) dev
	@$(SETUP) tools
	@PYTHON="$(BIN)/python" $(if $(ARGS),scripts/lint && $(RUN) pytest $(ARGS),scripts/test)

test-without-linux:
	@$(SETUP) venv $(VENV) dev
	TRIOLET_WITHOUT_LINUX=1 $(RUN) pytest tests examples --ignore tests/e2e -q

hunt:
	@$(SETUP) venv $(VENV) dev
	$(RUN) hunt --seconds $(SECONDS) --first $(FIRST) --processes 2

autobahn:
	@$(SETUP) venv $(VENV) dev
	$(RUN) pytest -m on_request tests/e2e/test_autobahn.py

lint:
	@$(SETUP) venv $(VENV) dev
	@PYTHON="$(BIN)/python" scripts/lint

docs:
	@$(SETUP) venv $(VENV) docs
	$(RUN) sphinx -W --keep-going -b html docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

pictures:
	@$(SETUP) venv $(VENV) dev
	@$(SETUP) tools
	$(RUN) tests.e2e.examples.pictures $(ARGS)

types:
	@$(SETUP) venv $(VENV) dev
	@$(SETUP) tools
	$(RUN) tests.e2e.declaring

bench:
	@$(SETUP) venv $(VENV) bench
	@$(SETUP) peers
	$(RUN) benchmarks.fanout $(ARGS)
	$(RUN) benchmarks.echo $(ARGS)
	$(RUN) benchmarks.chat $(ARGS)
	$(RUN) benchmarks.polls $(ARGS)
	$(RUN) benchmarks.idle $(ARGS)
	$(RUN) benchmarks.scale $(ARGS)
	$(RUN) benchmarks.herd $(ARGS)
	$(RUN) benchmarks.commands $(ARGS)
	$(RUN) benchmarks.runs $(ARGS)
	$(RUN) benchmarks.many $(ARGS)
	$(RUN) benchmarks.slow
	$(RUN) benchmarks.report

churn:
	@$(SETUP) venv $(VENV) dev
	$(RUN) benchmarks.churn $(ARGS)

dist:
	@$(SETUP) venv $(VENV) release
	@PYTHON="$(BIN)/python" scripts/dist

clean:
	rm -rf .venv .venv-* docs/_build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf tests/e2e/node_modules benchmarks/peers/node_modules examples/*/*.db examples/*/*.db-*
	rm -rf examples/*/node_modules examples/*/static/vendor
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
