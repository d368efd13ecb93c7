# Set-up happens by itself and only when a lock file changed. `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo run test faults rehearsal check format bench docs lock clean

demo: .venv/installed
	$(BIN)/croupier demo

run: .venv/installed
	$(BIN)/croupier up

# Most tests wait for real servers most of the time, so two files run at once.
test: .venv/installed
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# The faults of `make test`, for longer and more often.
faults: .venv/installed
	CROUPIER_FAULTS=long $(BIN)/python -m pytest tests/faults tests/acceptance/test_fuzz.py --log-cli-level=INFO

# The Dockerfile's and the compose file's commands, without Docker: Linux, as root.
rehearsal: .venv/installed
	$(BIN)/python -m tests.deploy.rehearsal

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed
	$(BIN)/python -m benchmarks

# The documentation as a site, in build/site.
docs: .venv/installed
	$(BIN)/python -m mkdocs build --strict

.venv/installed: requirements-dev.lock pyproject.toml scripts/set-up $(shell find app/console/frontend -maxdepth 2 \( -name "package*.json" -o -path "*/src/*.js" \))
	sh scripts/set-up "$(PYTHON)"

# Needs uv (`pip install uv`). Versions and hashes only: the registry is the installer's business.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
		pyproject.toml --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
		--extra dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock
	echo setuptools | uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
		--constraint requirements-dev.lock - --no-annotate --output-file requirements-build.lock

clean:
	rm -rf .venv build app/console/static/build app/console/frontend/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache
