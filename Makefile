PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help run test scorecard soak check check-static types format icons shell reset bench requirements wheel sbom audit

help:
	@echo "make run            start Loupe with a demo: web server and worker on 127.0.0.1:8000 (PORT=…, DATA_DIR=…)"
	@echo "make test           run the tests (ARGS='-k name' goes to pytest)"
	@echo "make scorecard      print the goals of reliability and security: pass, fail or not tried (ARGS=--all for every row)"
	@echo "make soak           run Loupe with moderators, faults and kills, report what is lost (SEED=1 MINUTES=60)"
	@echo "make check          lint, formatting, types, migrations, production settings"
	@echo "make format         format the code and sort imports"
	@echo "make types          run the type checker alone"
	@echo "make shell          Python with the settings and data of make run"
	@echo "make reset          delete DATA_DIR (var); asks first"
	@echo "make bench          run the benchmarks with SIZES=10000,1000000 assets (ARGS='--parts server,browser')"
	@echo "make icons          build static/icons.svg from the npm package lucide-static (needs npm)"
	@echo "make wheel          build the package to install, with its pinned requirements, in dist/"
	@echo "make sbom           write dist/sbom.json: every package of production (CycloneDX)"
	@echo "make audit          look up known vulnerabilities of the packages of production"
	@echo "make requirements   compile the pinned requirements"

# install(requirements file): build the environment if it is missing or the file has changed.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.platform != "linux" and "Loupe runs on Linux only; this is " + sys.platform + ".")'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Loupe needs Python 3.11 or newer: make PYTHON=python3.12 $@")'
	@# An environment without pip is left over from a failed attempt, for example without python3-venv.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "Making the Python environment in $(VENV) …"; $(PYTHON) -m venv --clear $(VENV); }
	@sum=$$($(PYTHON) -c 'import hashlib; print(hashlib.sha256(open("$(1)", "rb").read()).hexdigest())'); \
	stamp=$(VENV)/$(1).sha256; \
	if [ "$$(cat $$stamp 2>/dev/null)" != "$$sum" ]; then \
		echo "Installing the packages of $(1) (minutes the first time) …"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1) && echo $$sum > $$stamp; \
	fi
endef

# Published clients for Node, used by tests. Without npm these tests are skipped.
CLIENTS := tests/clients
# install_npm(folder): install the packages of its package.json when it has changed since.
define install_npm
	@command -v npm >/dev/null 2>&1 || exit 0; \
	sum=$$($(PYTHON) -c 'import hashlib; print(hashlib.sha256(open("$(1)/package.json", "rb").read()).hexdigest())'); \
	stamp=$(1)/node_modules/.package.json.sha256; \
	if [ "$$(cat $$stamp 2>/dev/null)" != "$$sum" ]; then \
		echo "Installing the packages of $(1)/package.json …"; \
		npm install --prefix $(1) --fetch-retries=1 --ignore-scripts --no-audit --no-fund --no-package-lock --silent \
			&& echo $$sum > $$stamp || echo "npm could not install them."; \
	fi
endef

run:
	$(call install,requirements.txt)
	@$(BIN)/python -m config.bootstrap
	@exec $(BIN)/python manage.py dev

test:
	$(call install,requirements-dev.txt)
	$(call install_npm,$(CLIENTS))
	@$(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

scorecard:
	$(call install,requirements-dev.txt)
	$(call install_npm,$(CLIENTS))
	@$(BIN)/python -m tests.scorecard $(ARGS)

SEED ?= 1
MINUTES ?= 60
soak:
	$(call install,requirements-dev.txt)
	@$(BIN)/python -m tests.soak --seed $(SEED) --minutes $(MINUTES) $(ARGS)

check types: PRODUCTION = env DEBUG=0 SANDBOX=0 PUBLIC_URL=https://loupe.example ALLOWED_HOSTS=loupe.example \
	SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
	RECORD_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))')
check:
	$(call install,requirements-dev.txt)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(call install_npm,.)
	@$(MAKE) --no-print-directory check-static
	@$(PRODUCTION) $(BIN)/mypy .
	@$(PRODUCTION) $(BIN)/python manage.py makemigrations --check --dry-run
	@$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

# JavaScript and CSS, with the linter and the formatter of package.json.
STATIC := static/js static/css eslint.config.js
check-static:
	@if [ -x node_modules/.bin/eslint ] && [ -x node_modules/.bin/prettier ]; then \
		echo "eslint static/js; prettier --check $(STATIC)"; \
		node_modules/.bin/eslint static/js && node_modules/.bin/prettier --check --log-level warn $(STATIC); \
	else \
		echo "Skipped eslint and prettier: npm is missing, or could not install them."; \
	fi

types:
	$(call install,requirements-dev.txt)
	@$(PRODUCTION) $(BIN)/mypy .

format:
	$(call install,requirements-dev.txt)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(call install_npm,.)
	@if [ -x node_modules/.bin/prettier ]; then node_modules/.bin/prettier --write --log-level warn $(STATIC); \
	else echo "Skipped prettier: npm is missing, or could not install it."; fi

shell:
	$(call install,requirements.txt)
	@$(BIN)/python -m config.bootstrap
	@$(BIN)/python manage.py shell

reset:
	@printf 'Delete %s with its database and images? [y/N] ' "$${DATA_DIR:-var}"; read answer; \
	[ "$$answer" = y ] && rm -rf -- "$${DATA_DIR:-var}" || echo "Nothing was deleted."

# The icons of moderation/presenters/icons.py as one sprite. The version is in NOTICE, too.
LUCIDE := lucide-static@1.62.0
icons:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	npm install --prefix "$$folder" --ignore-scripts --no-audit --no-fund --no-package-lock --silent $(LUCIDE) && \
	$(BIN)/python -m config.bootstrap && $(BIN)/python manage.py build_icons "$$folder/node_modules/lucide-static"

SIZES ?= 10000,1000000
bench:
	$(call install,requirements-dev.txt)
	@$(BIN)/python -m bench --sizes $(SIZES) $(ARGS)

wheel:
	$(call install,requirements-dev.txt)
	@rm -f dist/*.whl && $(BIN)/python -m build --wheel --no-isolation --outdir dist . && cp requirements-production.txt dist/

# Names, versions and hashes. Licences of the installed packages: tests/deploy/test_installed.py.
sbom:
	$(call install,requirements-dev.txt)
	@mkdir -p dist && $(BIN)/cyclonedx-py requirements requirements-production.txt --pyproject pyproject.toml \
		--mc-type application --output-reproducible --output-file dist/sbom.json && echo "dist/sbom.json"

audit:
	$(call install,requirements-dev.txt)
	@$(BIN)/python .ci/audit $(BIN)/pip-audit

requirements: COMPILE = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --quiet
requirements:
	$(COMPILE) --extra local --output-file requirements.txt
	$(COMPILE) --all-extras --constraint requirements.txt --output-file requirements-dev.txt
	$(COMPILE) --extra postgres --extra s3 --constraint requirements-dev.txt --output-file requirements-production.txt
	@# Fail if a file contains an option other than --hash, or a URL.
	@! grep -nE -e '--([^h]|h[^a])' -e ':/' requirements.txt requirements-dev.txt requirements-production.txt
