PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo up test chaos browser screenshots lint bench dashboards kafka kafka-jars lock audit-deps clean

help: ## What one can do
	@grep -E '^[.a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/installed ## Make .venv with the locked dependencies

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "spendstream needs Python 3.11, 3.12 or 3.13; set PYTHON=python3.12, for example"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "Python's venv module is missing: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Five weeks of an invented company's traffic through the whole pipeline, and the audit
	$(BIN)/spendstream demo

up: setup ## The stack on this machine until Ctrl-C (TRAFFIC=50: with 50 live sample events a second)
	$(BIN)/spendstream up $(if $(TRAFFIC),--traffic $(TRAFFIC))

kafka: setup ## Apache Kafka on 127.0.0.1:9092 until Ctrl-C (BROKERS=3: a cluster; SECURED=1: TLS, users and rights)
	$(BIN)/python -m deploy.kafka.fetch
	$(BIN)/spendstream kafka $(if $(BROKERS),--brokers $(BROKERS)) $(if $(SECURED),--secured)

kafka-jars: setup ## Fetch Apache Kafka where Java and Maven can: contract and chaos tests run on it
	@$(BIN)/python -m deploy.kafka.fetch || \
		echo "Apache Kafka could not be fetched: its tests run on the embedded broker (a failure in CI)"

test: setup browser kafka-jars ## All tests, two files at a time (JOBS=1: one)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

chaos: setup kafka-jars ## A storm of 200 kills and faults of every other kind on three brokers, as root: KILLS=200 SEED=1
	$(BIN)/python tests/chaos/storm.py $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

browser: ## Install chromium where it is missing (Debian, as root): tests and screenshots of the preview drive it
	@command -v chromium >/dev/null || { apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium fonts-liberation fonts-noto-color-emoji; } >/dev/null 2>&1 || \
		echo "chromium could not be installed: tests of the preview pages are skipped (a failure in CI); install it yourself"

screenshots: setup browser ## Take the pictures of docs/images anew
	$(BIN)/python tests/browser/screenshots.py docs/images

lint: setup ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## Speed, beside what people would use instead on the same data
	$(BIN)/python -m benchmarks

dashboards: setup ## Write the JSON that Grafana reads from grafana/dashboards and grafana/queries
	$(BIN)/python -m grafana.build
	$(BIN)/python -m grafana.alert_rules

lock: ## Resolve the dependencies again (needs uv)
	uv pip compile --universal --python-version 3.11 --all-extras --generate-hashes --no-annotate --no-header \
		--upgrade pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --extra registry --extra build --generate-hashes --no-annotate \
		--no-header --constraint requirements.lock pyproject.toml -o deploy/requirements.lock

audit-deps: ## Look every locked dependency up among known vulnerabilities; what cannot be looked up is a failure, too
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && \
		.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements.lock

.env: ## Passwords for docker compose, made up
	@$(PYTHON) deploy/make_env.py $@

clean: ## Remove .venv and the state of the embedded stack
	rm -rf .venv .venv-audit .spend
