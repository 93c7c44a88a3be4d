# make demo | demo-video | demo-outline | demo-driving | test | test-full | lint | deps | docs | hooks | ui | serve | audit
# | clean.
# All is installed into .venv from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: demo demo-video demo-outline demo-driving test test-full lint deps docs hooks ui serve audit clean

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	$(BIN)/python -m pipelines.tracking.relocation
	touch $@

# Two of the networks of params.yaml, as they are there. What has scores already is kept in step, so that a table is of
# one state of the data; a name that is no stage (--glob) is passed over.
DEMO := scs convlstm persistence extrapolation climatology
METHODS = $(sort $(DEMO) $(basename $(notdir $(wildcard data/scores/*.parquet))))

demo: data/first_forecast
	@printf '%s\n' '' '2 of 3: train and score $(DEMO): about 4 minutes on 2 cores' ''
	dvc repro --glob $(METHODS:%=evaluate@%) $(METHODS:%=evaluate_baseline@%)
	@printf '%s\n' '' '3 of 3: compare them, register the networks, and forecast by the champion: half a minute' ''
	dvc repro --single-item compare register
	@$(MAKE) --no-print-directory data/forecasts
	@printf '%s\n' '' \
	  'The table:        data/comparison/table.md (all lead times: table.json)' \
	  'The pictures:     data/comparison/csi.png, data/comparison/maps.png, and crps.png, reliability.png and others beside them' \
	  'The forecast:     data/forecasts/, one folder a reference time: forecast.nc, forecast.png' \
	  'The MLflow store: mlflow/mlflow.db, mlflow/artifacts/; its UI: make ui, then http://127.0.0.1:5000' \
	  'What comes next:  dvc repro, which trains and scores all that params.yaml names: radar, video, outlines and driving'

data/first_forecast: | .venv/installed
	@printf '%s\n' '' '1 of 3: simulate an archive of radar files, and forecast by extrapolation: half a minute' ''
	dvc repro simulate
	scs forecast data/raw/simulated --model extrapolation --out $@

# Again only after a new comparison, which is what may have changed the champion.
data/forecasts: data/comparison/table.json
	scs forecast data/raw/simulated
	touch $@

demo-video: .venv/installed
	dvc repro register_action
	@printf '%s\n' '' \
	  'The table:        data/action/comparison/table.md' \
	  'The pictures:     data/action/comparison/accuracy.png and anticipation.png, data/action/confusion/' \
	  'One clip:         scs recognize data/raw/video/MoveLeft/v_MoveLeft_g01_c01.avi'

demo-outline: .venv/installed
	dvc repro register_outline
	@printf '%s\n' '' \
	  'The table:        data/outline/comparison/table.md' \
	  'The pictures:     data/outline/examples/, best, median and worst of each class; data/outline/comparison/' \
	  'One object:       scs annotate data/raw/images/leftImg8bit/val/ground12/ground12_000000_000019_leftImg8bit.png --box 274,55,359,135'

demo-driving: .venv/installed
	dvc repro register_driving
	@printf '%s\n' '' \
	  'For study: it drives no car.' \
	  'The table:        data/driving/comparison/table.md' \
	  'The pictures:     data/driving/comparison/ and, with the wheel drawn in, data/driving/examples/' \
	  'One drive:        scs steer data/raw/drives/1 --out angles.csv'

lint: .venv/installed
	ruff check .
	ruff format --check .
	mypy

# Lints before each commit of this clone.
hooks: .venv/installed
	pre-commit install

test: lint
	pytest -n 2 --dist loadfile

test-full: .venv/installed
	pytest -n 2 --dist loadfile -m "full or not full"

# After a change of imports: which code each stage of dvc.yaml runs.
deps: .venv/installed
	python -m pipelines.common.dvc_deps

# The documentation site: site/index.html. Nothing is fetched, and the gallery's scripts run.
docs: .venv/installed
	python -m sphinx --fail-on-warning --keep-going --quiet docs site

ui: .venv/installed
	python -m pipelines.common.login
	. ./data/servers.env; set -a; . ./mlflow/server.env; exec mlflow server --app-name scs

serve: .venv/installed
	python -m flows.serve

# A tool beside what it looks at. Strict: what can't be looked up is not sound.
AUDIT := .venv/audit/bin/pip-audit
audit: .venv/installed
	test -x $(AUDIT) || { $(PYTHON) -m venv .venv/audit && .venv/audit/bin/pip install --quiet pip-audit==2.10.1; }
	$(AUDIT) --strict --disable-pip --no-deps --progress-spinner off --requirement requirements.lock \
	  $$(awk '/^[^#]/ { print "--ignore-vuln", $$1 }' audit-exceptions.txt)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache *.egg-info site docs/examples
