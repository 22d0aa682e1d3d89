# Needs Python 3.11, git and make; everything else goes into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
READY := .venv/.ready
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

# All that differs from params.yaml: where the research data are, how the released weights are trained on them, and small
# trainings that each leave out one thing. A dataset that an ablation leaves out of training is still validated on, and
# the number of updates is the same. An experiment writes its values to params.yaml, so each sets all that others change.
RESEARCH := \
	-S '++prepare.datasets.starter={format: starter, path: data, use: [parsing, landmarks], weight: 1}' \
	-S '++prepare.datasets.celebamask={format: celebamask, path: ../shared/data/celebamask, use: [parsing, landmarks], weight: 1}' \
	-S '++prepare.datasets.landmarks68={format: landmarks68, path: ../shared/data/landmarks68, use: [parsing, landmarks], weight: 1}' \
	-S prepare.bad_samples=set_aside -S prepare.splits.test=0 \
	-S train.start_from=none -S train.freeze_batchnorm=false -S train.warmup=0.03 -S train.ema_decay=0.997 \
	-S train.learning_rate=2e-3 -S train.repeat_rarer_than=0.4 \
	-S evaluate.split=val
RELEASED := $(RESEARCH) \
	-S '++prepare.datasets.pseudo_labels={format: celebamask, path: build/pseudo_labels, weight: 8}' \
	-S prepare.datasets.starter.weight=8 -S prepare.datasets.celebamask.weight=8 \
	-S 'prepare.datasets.landmarks68.use=[landmarks]' -S prepare.splits.val=0 \
	-S train.batch_size=64 -S train.weight_decay=0.05 -S train.warmup=0.04 -S train.ema_decay=0.999 -S train.workers=15 \
	-S 'train.phases=[{size: 128, epochs: 1, unaugmented: 0.1}, {size: 192, epochs: 2, unaugmented: 0.1}, {size: 256, epochs: 7, unaugmented: 0.2}, {size: 320, epochs: 3, unaugmented: 0.4}]' \
	-S calibrate.start_from=none
SMALL := $(RESEARCH) -S prepare.datasets.celebamask.weight=0.25 -S prepare.splits.val=0.1 \
	-S train.batch_size=16 -S train.weight_decay=0.01 -S train.workers=2 \
	$$(! grep -q '^    pseudo_labels:' params.yaml || echo -S '~prepare.datasets.pseudo_labels')

.DEFAULT_GOAL := help
.PHONY: help .venv pull repro test test-all soak lint docs bench mlflow serve champion stop demo
.PHONY: released ablations evidence evidence-smoke release-weights clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: $(READY) ## set up Python and the pinned packages

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11; install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@.venv/bin/pip install --disable-pip-version-check -r requirements.lock || \
		{ echo "not all packages could be installed: is there a network, or space on the disk? then try again" >&2; exit 1; }
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

pull: $(READY) ## fetch the starter data and the released weights
	@dvc pull --quiet data.dvc weights.dvc

repro: pull ## run the pipeline; what is up to date is not run again
	@dvc repro
	@echo
	@echo "archive  build/facemark.mar               serve it: make serve"
	@echo "report   build/evaluate/overlays.png      charts:   dvc plots show"
	@echo "runs     http://127.0.0.1:5000            open it:  make mlflow"

test: pull lint ## lint and test, about ten minutes on two cores
	@OMP_NUM_THREADS=1 pytest -n 2 --dist loadgroup

test-all: pull lint ## lint and all tests but the soak, with the share of branches that they cover: up to an hour
	@pytest -m 'not soak' --cov=facemark --cov-branch --cov-report=term:skip-covered

soak: pull ## thousands of hostile requests to the real server, its faults, and a day of work as docs/mlops.md has it
	@pytest tests/test_faults.py tests/test_day_of_work.py -m '' -rP

lint: $(READY) ## check style, formatting, types, and which package imports which
	@ruff check
	@ruff format --check
	@mypy
	@lint-imports

docs: $(READY) ## build the documentation site with its API reference into build/site, without network
	@NO_MKDOCS_2_WARNING=1 mkdocs build --quiet
	@echo "built; open build/site/index.html"

bench: pull ## measure the served parser against the bare network; needs the archive: make repro
	@python benchmarks/serving.py

mlflow: $(READY) ## open the MLflow UI on http://127.0.0.1:5000
	@mlflow ui $(if $(MLFLOW_TRACKING_URI),--backend-store-uri $(MLFLOW_TRACKING_URI))

serve: pull ## start TorchServe with what the pipeline built, else with the released weights
	@facemark serve

champion: $(READY) ## start TorchServe from the registry's champion
	@facemark archive champion && facemark serve build/champion.mar

stop: $(READY) ## stop TorchServe
	@facemark stop

demo: pull ## open a page on http://127.0.0.1:7860 that shows what is found in your photographs
	@facemark demo

released: pull ## train weights as the released ones were, on the research data next to the repository; needs a GPU
	@test -d build/pseudo_labels || facemark data pseudo-labels ../shared/data/landmarks68 --format landmarks68 --all-splits \
		-o build/pseudo_labels
	@dvc exp run $(RELEASED)

ablations: pull ## small trainings that show what each part of the recipe is worth; then: python benchmarks/ablations.py
	@dvc exp run --name small $(SMALL) -S 'train.phases=[{size: 64, epochs: 4}]' train
	@dvc exp run --name no-wild-faces $(SMALL) -S 'prepare.datasets.landmarks68.use=[landmarks]' \
		-S 'train.phases=[{size: 64, epochs: 7}]' train
	@dvc exp run --name no-starter-faces $(SMALL) -S 'prepare.datasets.starter.use=[landmarks]' \
		-S 'train.phases=[{size: 64, epochs: 5}]' train
	@dvc exp run --name no-repeats $(SMALL) -S train.repeat_rarer_than=0 \
		-S 'train.phases=[{size: 64, epochs: 5}]' train
	@dvc exp run --name no-averaging $(SMALL) -S train.ema_decay=0 -S 'train.phases=[{size: 64, epochs: 4}]' train

evidence: pull ## parsing against direct regression on poor labels, all cells (up to a day); fills docs/evidence.md
	@dvc --cd experiments/poor-data repro
	@python experiments/poor-data/report.py

evidence-smoke: pull ## a tiny cell of that comparison, with each method
	@pytest tests/test_evidence.py

release-weights: $(READY) ## make what the pipeline built the weights that clones start from
	@python -m facemark.mlops.release

clean: ## stop the server and remove what was built; dvc repro brings back from DVC's cache what the stages made
	@! test -f build/serve/pid || facemark stop
	rm -rf build
