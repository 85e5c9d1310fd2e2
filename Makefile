# The commands of this repository. bin/lab and pytest do the work.
SHELL := /bin/bash
.DEFAULT_GOAL := help
python := .venv/bin/python
# Many tests wait for a process of their own, so one worker more than there are processors keeps all busy.
workers = $(shell echo $$(($$(nproc) + 1)))
# Tests may remove a lab that they started themselves, but not one that existed before.
export OWN_LAB := $(if $(wildcard /var/lib/salina-lab/topology.yaml),,yes)

.PHONY: help up down clean check test proof deployed integration fleet hosts bench drill faults lock compose docs map picture venv

help: ## show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

up: ## start the lab and deploy the service: TOPOLOGY=FILE chooses another topology, APP=NAME another application, SOURCE=DIR a clone of its code, REVISION=NAME a branch, tag or commit of the clone
	@bin/lab up $(if $(TOPOLOGY),--topology "$(TOPOLOGY)") $(if $(APP),--app "$(APP)") $(if $(SOURCE),--source "$(SOURCE)") $(if $(REVISION),--revision "$(REVISION)")

down: ## stop and remove the lab
	@bin/lab down

clean: ## stop and remove the lab, its caches and the virtual environment
	@bin/lab clean
	@rm -rf .venv

# Compiled Python is kept: otherwise each worker compiles every test and all of Salt again.
check: export PYTHONDONTWRITEBYTECODE :=
check: export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
check: venv ## run the quick checks without root: lint, types, unit and render tests
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --check --quiet
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/yamllint --strict .
	@git ls-files -z '*.sls' | xargs -0 .venv/bin/salt-lint
	@$(MAKE) --no-print-directory --keep-going --output-sync --jobs=$(workers) $(parts)

# The quick tests run in parts, each in a process of its own, which collects its own files only.
# All that renders states is in one part: it loads Salt, and compiles each template once.
units := unit-0 unit-1 unit-2 unit-3
parts := render $(units)
.PHONY: $(parts)
quick = .venv/bin/pytest --quiet -m 'not programs and not further and not proof'

render:
	@$(quick) tests/render $$(grep -l tests.render tests/unit/test_*.py)

$(units): unit-%:
	@$(quick) $$(grep -L tests.render tests/unit/test_*.py | awk 'NR % 4 == $*')

test: check integration fleet ## run all tests, including those that need Salt or the lab; needs root

proof: check hosts ## run the failure tests (hosts killed, frozen, unplugged) in the variants that take too long for `make test`, and thousands of generated inputs; needs root
	@.venv/bin/pytest -m proof

# Deploying takes both cores. Tests that compare how fast hosts answer, or that need health checks of a second,
# need a quiet machine. Afterwards the lab often waits, and the rest of integration has its turn.
timely := app_tls balancer challenges closed_paths edge haproxy_config
alone := tests/lab/test_fleet.py tests/lab/test_balance.py $(timely:%=tests/integration/test_%.py)
deployed: check hosts
	@.venv/bin/pytest $(alone)

integration: deployed
	@.venv/bin/pytest -m '(programs or further) and not proof' tests/unit tests/render
	@.venv/bin/pytest tests/integration $(alone:%=--deselect %)

fleet: deployed
	@CONVERGED=yes .venv/bin/pytest tests/lab tests/one_host tests/pairs $(alone:%=--deselect %)

hosts: venv
	@bin/lab up --no-deploy

bench: venv ## measure the service (docs/performance.md): ONLY="pillar web" chooses parts
	@PYTHONPATH=.:fleet:_utils $(python) -m bench $(ONLY)

drill: venv ## break every host of the lab under traffic (docs/drills.md): ONLY="bbdd1 freeze" chooses some
	@PYTHONPATH=.:fleet:_utils $(python) -m drill $(ONLY)

faults: venv ## make faults on the lab, and measure how soon they are found (docs/drills.md): ONLY="etcd hangs" chooses some
	@PYTHONPATH=.:fleet:_utils $(python) -m drill.find $(ONLY)

lock: venv ## write salt/locks from pyproject.toml: UPGRADE=1 takes the newest versions
	@PYTHONPATH=.:fleet:_utils $(python) -m lab.mirror.locks $(if $(UPGRADE),--upgrade)

compose: venv ## write the fleet as a Docker Compose file into compose/ (docs/deployment.md): TOPOLOGY=FILE and APP=NAME as for up
	@PYTHONPATH=.:fleet:_utils $(python) -m lab.compose $(if $(TOPOLOGY),--topology "$(TOPOLOGY)") $(if $(APP),--app "$(APP)")

docs: map ## write the generated documents: requirements.md, pillar.md, settings.md, ports.md, grafana.json, map.svg and a part of deployment.md in docs/
	@PYTHONPATH=.:fleet:_utils $(python) -m tools.docs

map: venv ## draw docs/map.svg from the topology
	@PYTHONPATH=fleet:_utils $(python) -m salina_fleet.map > docs/map.svg

picture: venv ## take the picture of the page of monitoring in the running lab; needs root, chromium and chromium-driver
	@PYTHONPATH=.:fleet:_utils $(python) -m tools.picture

venv: ## create the virtual environment .venv, unless it is up to date
	@bin/lab --help > /dev/null
