# The only tools needed: make, git, Python 3.11 or newer with its venv module.
# PYTHON=… sets the interpreter, PORT=… the port of `make run`.

VENV := .venv
BIN := $(VENV)/bin
INSTALL := VENV=$(VENV) PYTHON='$(PYTHON)' sh tools/install.sh requirements.txt
# Tests wait for processes half of their time. Six workers need 12 of the 16 databases of a Redis.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -gt 4 ] && echo 4 || echo $$n)
PYTEST_ARGS ?=
CHAOS_ARGS ?=
CONTAINER_ARGS ?=
FLEET_ARGS ?=
EXAMPLES ?= 2000
TIMELINES_SEED ?= 1
RUNS ?= 1000000
DATABASE ?= sqlite
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

# set by other programs in the shell: with them Python uses other folders or does not find this one
unexport PYTHONHOME PYTHONSAFEPATH PYTHONWARNINGS PYTHONOPTIMIZE
# with it every run of pytest compiles all tests again, in each worker: nine seconds of its processor
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: install
install: ## make .venv and install the pinned dependencies
	@$(INSTALL)

.PHONY: install-dev
install-dev: ## also install what the tests and linters need
	@$(INSTALL) requirements-dev.txt

.PHONY: run
run: install ## start everything (PORT, DATA_DIR, DATABASE_URL, REDIS_URL); stop with Ctrl-C
	@exec $(BIN)/python manage.py run --stop-with-parent

.PHONY: test
test: install-dev ## run the tests (PYTEST_ARGS="-k name", WORKERS=2)
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

.PHONY: check
check: lint ## run the linters and the fast tests, in under two minutes
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not e2e and not browser" $(PYTEST_ARGS) \
	  tests/rules tests/views tests/language/test_templates.py tests/docs/test_docs.py \
	  tests/docs/test_imports.py tests/docs/test_distribution.py

.PHONY: api-contract
api-contract: install-dev ## have schemathesis try more of the API, with a token of each role (API_CONTRACT_EXAMPLES=50)
	API_CONTRACT_EXAMPLES=$${API_CONTRACT_EXAMPLES:-50} API_CONTRACT_SECONDS=3600 \
	  $(BIN)/python -m pytest -q -s $(PYTEST_ARGS) tests/api/test_api_contract.py

.PHONY: chaos
chaos: install-dev ## kill workers, broker and database under load, then verify the history (CHAOS_ARGS)
	$(BIN)/python -m chaos $(CHAOS_ARGS)

.PHONY: timelines
timelines: install-dev ## run random timelines against an in-memory cloud (EXAMPLES=2000, TIMELINES_SEED=1)
	TIMELINES=$(EXAMPLES) TIMELINES_SEED=$(TIMELINES_SEED) $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS) tests/timelines

.PHONY: bench-history
bench-history: install-dev ## time the history pages with RUNS=1000000 on DATABASE=postgresql|sqlite
	$(BIN)/python -m pip -q --disable-pip-version-check install --no-deps --require-hashes -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.history --runs $(RUNS) --database $(DATABASE)

.PHONY: bench-fleet
bench-fleet: install-dev ## time the way from click to verified run, beside bare calls (DATABASE, FLEET_ARGS)
	$(BIN)/python -m pip -q --disable-pip-version-check install --no-deps --require-hashes -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.fleet --database $(DATABASE) $(FLEET_ARGS)

.PHONY: bench-batches
bench-batches: install-dev ## time a batch of 10,000 clusters on DATABASE=postgresql|sqlite (needs a Redis)
	$(BIN)/python -m benchmarks.batches --database $(DATABASE)

.PHONY: container-trial
container-trial: install ## build the image and run docker-compose.yml with podman (root, Debian; CONTAINER_ARGS="--work DIR")
	$(BIN)/python -m trials.containers $(CONTAINER_ARGS)

.PHONY: metrics-trial
metrics-trial: install-dev ## let a real Prometheus scrape a real instance and run every query (needs prometheus)
	$(BIN)/python -m trials.metrics

.PHONY: lint
lint: install-dev ## run ruff, mypy, and the checks of templates, migrations and deployment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@! LC_ALL=C.UTF-8 grep -rnE '^.{121}|	|[[:blank:]]$$' templates || \
	  { echo "templates: over 120 columns, a tab, or a blank at the end of a line" >&2; exit 1; }
	$(BIN)/python manage.py makemigrations --check --dry-run
	@# production settings, with valid values that lead nowhere
	DEPLOYMENT=production SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(48))') \
	  AUDIT_SIGNING_KEY=$$(head -c 32 /dev/urandom | base64) \
	  CHANNEL_KEY=$$(head -c 48 /dev/urandom | base64) \
	  ALLOWED_HOSTS=css-logs.example.com TRUST_X_FORWARDED_PROTO=1 \
	  DATABASE_URL=postgres://dashboard@127.0.0.1:1/dashboard REDIS_URL=redis://127.0.0.1:1/0 \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING

.PHONY: lock
lock: ## pin the newest versions that requirements*.in allow (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) requirements-dev.in -o requirements-dev.txt

.PHONY: messages
messages: install-dev ## update and compile the catalogues in locale/ (CATALOGUE=de adds one)
	@command -v msgfmt >/dev/null || { echo "make messages needs gettext (apt install gettext)" >&2; exit 1; }
	$(BIN)/python manage.py makemessages $(if $(CATALOGUE),--locale $(CATALOGUE),--all) --no-wrap --add-location file \
	  --ignore .venv --ignore tests --ignore benchmarks --ignore chaos --ignore simulator --ignore var
	$(BIN)/python manage.py compilemessages --ignore .venv

.PHONY: licences
licences: install ## write the licences of the dependencies to docs/licences.md
	$(BIN)/python tools/licences.py > docs/licences.md.new && mv docs/licences.md.new docs/licences.md

.PHONY: screenshots
screenshots: install-dev ## take the screenshots of README and docs (needs chromium)
	$(BIN)/python tools/screenshots.py

.PHONY: secrets
secrets: ## create the missing secret files of docker-compose.yml
	@mkdir -p -m 700 docker/secrets
	@umask 077; for name in secret_key database_password; do \
	  [ -s docker/secrets/$$name ] || od -An -N36 -tx1 /dev/urandom | tr -d ' \n' > docker/secrets/$$name; \
	done; \
	[ -s docker/secrets/channel_key ] || head -c 48 /dev/urandom | base64 > docker/secrets/channel_key
	[ -s docker/secrets/audit_signing_key ] || head -c 32 /dev/urandom | base64 > docker/secrets/audit_signing_key
	@# readable for the user in the container; the folder itself is closed to other users
	@chmod 444 docker/secrets/*

.PHONY: clean
clean: ## remove .venv and caches; keep var/ (database and history)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis test-results
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
