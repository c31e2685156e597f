# What people type. `make` lists it.

PYTHON ?= python3
VENV := .venv
export ENVIRONMENT ?= dev
MODEL_VENV := .venv-model
SCAN_VENV := .venv-scan
QUANTISE_VENV := .venv-quantise
CDKTN_VENV := .venv-cdktn
BIN := $(VENV)/bin
SIZE ?= n
UV_COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links
# A layer of the requirements for development, in the same versions.
LAYER := $(UV_COMPILE) pyproject.toml --constraints requirements/dev.txt --extra demo --extra web --extra tracking
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# -- setting up -----------------------------------------------------------------------------

INSTALL = @$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or later is needed, not " + sys.version.split()[0])' && $(PYTHON) -m local.install
# Each holds the ones before it: what the demo runs, films and cameras, deploying, tests and checks.
DEMO := $(VENV)/.demo
CAMERA := $(VENV)/.camera
INFRA := $(VENV)/.infra
DEV := $(VENV)/.dev
INDEPENDENT := .independent/.installed

.PHONY: setup
setup: $(DEV) ## install everything but the extra `model` into .venv (1.5 GB); commands add what they need by themselves

$(DEMO) $(CAMERA) $(INFRA) $(DEV): $(VENV)/.%: requirements/%.txt pyproject.toml kcl_worker/kcl/jars.sha256
	$(INSTALL) $* --into $(VENV)

.PHONY: setup-model
setup-model: $(MODEL_VENV)/.model ## install the extra `model` (torch with CUDA, ultralytics: 3 GB to fetch, 6 GB on the disk) into .venv-model

$(MODEL_VENV)/.model: requirements/model.txt
	$(INSTALL) model

.PHONY: setup-quantise
setup-quantise: $(QUANTISE_VENV)/.quantise ## install the extra `quantise` (NNCF: 0.5 GB, no torch) into .venv-quantise

$(QUANTISE_VENV)/.quantise: requirements/quantise.txt
	$(INSTALL) quantise

# -- the main job ---------------------------------------------------------------------------

.PHONY: demo
demo: $(if $(SOURCE),$(CAMERA),$(DEMO)) ## run the whole pipeline on an embedded AWS; MODEL=file.onnx SOURCE=video choose others
	@$(BIN)/python -m local.demo $(if $(MODEL),--model '$(MODEL)') $(if $(SOURCE),--source '$(SOURCE)') $(if $(FPS),--fps '$(FPS)')

.PHONY: local
local: $(DEMO) ## run the embedded AWS alone, with a stream, a bucket and queues to play with
	@$(BIN)/python -m local.playground $(if $(PORT),--port $(PORT))

.PHONY: model
model: setup-model ## export YOLOv8 of SIZE=n|s|m|l|x, or NAME=yolo11n, or your WEIGHTS=mine.pt
	@$(MODEL_VENV)/bin/python -m models.export --size $(SIZE) $(if $(NAME),--name '$(NAME)') $(if $(WEIGHTS),--weights '$(WEIGHTS)')

.PHONY: quantise
quantise: setup-quantise ## make MODEL (models/yolov8n.onnx) int8 with FRAMES=video or folder, and compare it with fp32
	@$(QUANTISE_VENV)/bin/python -m models.quantise '$(or $(MODEL),models/yolov8n.onnx)' --frames '$(FRAMES)'

.PHONY: agreement
agreement: $(CAMERA) ## compare bf16, and int8 where there is one, with fp32 on FRAMES=video or folder, for YOLO_PRECISION=auto
	@$(BIN)/python -m models.quantise --compare-only '$(or $(MODEL),models/yolov8n.onnx)' --frames '$(FRAMES)'

.PHONY: demo-model
demo-model: setup-model ## train the built-in demo model again (an hour on two cores)
	@$(MODEL_VENV)/bin/python -m models.train

# -- the infrastructure ---------------------------------------------------------------------

.PHONY: synth
synth: $(INFRA) ## synthesise ENVIRONMENT (dev) into cdktf.out/: JSON for terraform, HCL for people (needs node)
	@$(BIN)/python main.py
	@CDKTF_OUTDIR=cdktf.out/hcl SYNTH_HCL_OUTPUT=true $(BIN)/python main.py
	@if command -v terraform > /dev/null; then terraform fmt -recursive cdktf.out/hcl > /dev/null; fi

PLATFORMS ?= linux_amd64 linux_arm64 darwin_amd64 darwin_arm64 windows_amd64

.PHONY: provider-lock
provider-lock: synth ## lock the provider's hashes anew, of PLATFORMS; MIRROR=folder where the registry is out of reach
	@terraform -chdir=cdktf.out/stacks/$(ENVIRONMENT) providers lock $(PLATFORMS:%=-platform=%) $(if $(MIRROR),-fs-mirror='$(abspath $(MIRROR))')
	@cp cdktf.out/stacks/$(ENVIRONMENT)/.terraform.lock.hcl environments/

STACKS := $(BIN)/python -m stacks.cli
# What a command of stacks.cli prints, in a file of its name.
define keep
@mkdir -p cdktf.out
@$(STACKS) $(1) > cdktf.out/$(1).json
endef
APPROVE := $(if $(filter yes,$(YES)),--auto-approve)

.PHONY: bootstrap plan drift summary deploy image outputs policy destroy
bootstrap: $(INFRA) ## make the bucket of the Terraform state, once for an account and region
	@$(STACKS) bootstrap $(APPROVE)

plan: $(INFRA) ## show what deploying ENVIRONMENT (dev) would change; OUT=plan saves it
	@$(STACKS) plan $(if $(OUT),--out '$(OUT)')

drift: $(INFRA) ## fails where what is deployed differs from what is written here; OUT=drift.md saves how
	@$(STACKS) drift $(if $(OUT),--out '$(OUT)')

summary: $(INFRA) ## a saved PLAN=plan in a few lines of Markdown; fails where data would be lost
	@terraform -chdir=cdktf.out/stacks/$(ENVIRONMENT) show -json '$(or $(PLAN),plan)' | $(BIN)/python -m stacks.summary --title '$(ENVIRONMENT)'

deploy: $(INFRA) ## image, infrastructure, wait, outputs; PLAN=plan applies a saved one, YES=yes does not ask, IMAGE=no leaves the image out
	@$(STACKS) deploy $(APPROVE) $(if $(PLAN),--plan '$(PLAN)') $(if $(filter no,$(IMAGE)),--no-image) $(if $(BASE),--base '$(BASE)')

image: $(INFRA) ## build the worker's image and push it (needs docker, podman or buildah)
	@$(STACKS) image $(if $(BASE),--base '$(BASE)')

outputs: $(INFRA) ## print the outputs of ENVIRONMENT (dev) as JSON, for --from-outputs
	@$(STACKS) outputs

policy: $(INFRA) ## print the IAM policy for NAME=Producer, Consumer, Clip, Configure or Quarantine
	@$(STACKS) policy --name '$(or $(NAME),Producer)'

destroy: $(INFRA) ## destroy ENVIRONMENT (dev)
	@$(STACKS) destroy $(APPROVE)

.PHONY: verify-account
verify-account: $(INFRA) ## deploy a throw-away copy of ENVIRONMENT into this account, use it, destroy it, report (OUT=report.md)
	@$(STACKS) verify-account $(APPROVE) $(if $(OUT),--out '$(abspath $(OUT))') $(if $(BASE),--base '$(BASE)')

.PHONY: smoke replay restart logs status sources configure send watch web doctor preflight menu
smoke: $(INFRA) ## send frames through what is deployed; compare what was sent with what came
	@$(STACKS) smoke $(if $(FRAMES),--frames $(FRAMES))

replay: $(INFRA) ## read the stream again FROM=2026-01-01T00:00:00Z through another MODEL=file.onnx, beside the live pipeline
	@$(STACKS) replay --from '$(FROM)' $(if $(MODEL),--model '$(MODEL)')

restart: $(INFRA) ## start new tasks in place of the running ones
	@$(STACKS) restart

logs: $(INFRA) ## the worker's log of the last 15 minutes (SINCE=60) and what comes, until Ctrl-C
	@$(STACKS) logs --follow $(if $(SINCE),--since $(SINCE))

status: $(INFRA) ## tasks, shards, lag, leases, queues and alarms of what is deployed
	@$(STACKS) status

sources: $(INFRA) ## sources that have settings of their own: threshold, classes, tracking, zones, lines
	@$(STACKS) sources

configure: $(INFRA) ## give SOURCE its own SETTINGS=door.json; without SETTINGS it has none any more
	@$(STACKS) configure --source '$(SOURCE)' $(if $(SETTINGS),--settings '$(SETTINGS)')

send: $(INFRA) ## send SOURCE (demo) to what is deployed, until Ctrl-C
	$(call keep,outputs)
	@$(BIN)/producer send '$(or $(SOURCE),demo)' --from-outputs cdktf.out/outputs.json

watch: $(INFRA) ## print the results of what is deployed, until Ctrl-C
	$(call keep,outputs)
	@$(BIN)/consumer watch --from-outputs cdktf.out/outputs.json

doctor: $(INFRA) ## check what is deployed hop by hop, and follow one frame through it
	$(call keep,outputs)
	$(call keep,needs)
	@$(BIN)/python -m doctor --wait 300 --from-outputs cdktf.out/outputs.json --needs cdktf.out/needs.json

preflight: $(INFRA) ## before ENVIRONMENT (dev) is deployed: whether the account's quotas leave room for it
	$(call keep,needs)
	@$(BIN)/python -m doctor --preflight --needs cdktf.out/needs.json

web: $(INFRA) ## show what is deployed on a page in the browser, until Ctrl-C
	$(call keep,outputs)
	@$(BIN)/consumer web --from-outputs cdktf.out/outputs.json

menu: $(DEMO) ## choose from the six that are used most
	@$(BIN)/python -m stacks.menu

.PHONY: simulate
simulate: $(DEV) ## replay traffic through the scaling policies of ENVIRONMENT (here: prod); draw docs/scaling.png
	@$(BIN)/python -m simulation $(if $(filter-out file,$(origin ENVIRONMENT)),--environment $(ENVIRONMENT)) --chart docs/scaling.png

.PHONY: scale-demo
scale-demo: $(DEV) ## let the policies of ENVIRONMENT (here: prod) start and stop real workers, in compressed time (5 minutes, Linux); draw docs/scale-demo.png
	@$(BIN)/python -m simulation.live $(if $(filter-out file,$(origin ENVIRONMENT)),--environment $(ENVIRONMENT)) --chart docs/scale-demo.png $(if $(JSON),--json > '$(JSON)')

# -- working on it --------------------------------------------------------------------------

# What takes long begins first (tests/costs.py); each process takes the next test when it has done one.
PYTEST := $(BIN)/python -m pytest -n auto --dist load --maxschedchunk 1 --durations 10

.PHONY: test test-rest test-all test-python
test: $(DEV) ## unit, infra, the main job, each kind of fault: eight minutes
	$(PYTEST) -m 'not thorough'

test-rest: $(DEV) ## what `make test` leaves out, because it takes long
	$(PYTEST) -m thorough

test-all: $(DEV) ## all tests that this machine can run
	$(PYTEST)

.PHONY: test-independent setup-independent
test-independent: setup-independent ## the worker on emulators that others wrote (npm, Maven; cargo compiles one in 15 minutes): 5 minutes
	$(BIN)/python -m tests.independent.install --compile
	$(PYTEST) tests/independent

setup-independent: $(INDEPENDENT) ## install emulators that others wrote into .independent (80 MB; needs npm, Maven)

$(INDEPENDENT): $(DEV) $(addprefix tests/independent/,package-lock.json pom.xml jars.sha256 requirements.txt install.py)
	$(BIN)/python -m tests.independent.install
	@touch $@

test-python: ## unit tests on each of PYTHONS (3.11 to 3.14) to be had here
	@$(PYTHON) -m tests.pythons $(PYTHONS)

.PHONY: check
check: $(DEV) ## format, lint, types and fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n auto -m 'not slow and not thorough' tests/unit

.PHONY: coverage
coverage: $(DEV) ## which lines of the product the unit and system tests run, in every process
	rm -f .coverage*
	$(BIN)/coverage run -m pytest -q -n auto --dist worksteal tests/unit tests/system
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

.PHONY: scan
scan: $(DEV) setup-scan synth ## scan infrastructure, policies, Dockerfile and workflows (checkov, parliament, tflint)
	$(SCAN_VENV)/bin/checkov --config-file .checkov.yaml --directory . --skip-download
	$(BIN)/python -m tests.infra.policies cdktf.out/stacks
	@if [ ! -x $(TFLINT) ]; then echo 'skipped: tflint is not there: make setup-tflint'; \
	else TFLINT_PLUGIN_DIR=$(CURDIR)/.tools/plugins $(TFLINT) --chdir cdktf.out/hcl --recursive --config $(CURDIR)/.tflint.hcl; fi

.PHONY: setup-cdktn
setup-cdktn: $(CDKTN_VENV)/.cdktn ## install cdktn, CDKTF's continuation, into .venv-cdktn, for the test that compares the two

$(CDKTN_VENV)/.cdktn: requirements/cdktn.txt
	$(INSTALL) cdktn

TFLINT := .tools/tflint

.PHONY: setup-tflint
setup-tflint: $(DEV) ## build tflint and its rules for AWS into .tools (needs Go; eight minutes of a core)
	@$(BIN)/python -m tests.infra.tools tflint

.PHONY: setup-scan
setup-scan: $(SCAN_VENV)/.scan ## install checkov, parliament, pip-audit and atheris into .venv-scan

$(SCAN_VENV)/.scan: requirements/scan.txt
	$(INSTALL) scan

.PHONY: format
format: $(DEV) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: schema reference
schema: $(DEV) ## write the JSON Schemas of messages and settings anew
	$(BIN)/python -m contract.message

reference: $(DEV) ## write the tables of docs/configuration.md anew
	$(BIN)/python -m stacks.reference

.PHONY: bench bench-quick processors sizes families cost
bench: $(DEV) setup-model setup-quantise ## measure everything side by side (20 minutes); also into bench.json
	@$(BIN)/python -m benchmarks

bench-quick: $(DEV) setup-model setup-quantise ## the engine against ultralytics and the machine's limits, in two minutes
	@$(BIN)/python -m benchmarks --quick

processors: $(DEV) setup-model setup-quantise ## each precision on kinds of processors that Fargate may give, as far as this one can play them
	@$(BIN)/python -m benchmarks --processors

sizes: $(DEV) setup-model setup-quantise ## measure YOLOv8 n to x in every precision; the figures of docs/cost.md
	@$(BIN)/python -m benchmarks.sizes --write
	@$(BIN)/python -m benchmarks.cost --write

families: $(DEV) setup-model setup-quantise ## measure YOLOv8n, YOLO11n and YOLO26n (MODELS='yolov8s yolo11s') in fp32 and int8
	@$(BIN)/python -m benchmarks.families $(if $(MODELS),--models $(MODELS))

cost: $(DEV) ## ENVIRONMENT's bill of a month by part: make cost ARGS='--cameras 100 --fps 5 --hours 12 --precision int8'
	@$(BIN)/python -m benchmarks.cost $(ARGS)

.PHONY: chaos fuzz fuzz-guided soak advisories
chaos: $(DEV) ## break everything on purpose, audit what came of it, print the figures of docs/reliability.md
	$(if $(FAULT_SECONDS),FAULT_SECONDS=$(FAULT_SECONDS)) $(BIN)/python -m benchmarks.chaos

fuzz: $(DEV) ## throw 200 000 hostile inputs at each place where bytes come in
	FUZZ_INPUTS=200000 $(BIN)/python -m pytest -q -n auto tests/unit/test_fuzz.py

fuzz-guided: setup-scan ## let coverage guide a million inputs to the parser of records (atheris)
	mkdir -p build/corpus
	$(SCAN_VENV)/bin/python -m tests.guided -runs=1000000 -max_len=4096 build/corpus

advisories: setup-scan ## look the worker's packages up among known vulnerabilities (needs the internet)
	$(SCAN_VENV)/bin/pip-audit --disable-pip --require-hashes -r requirements/worker.txt

soak: $(DEV) ## twenty minutes under random faults (SOAK_MINUTES), with memory, descriptors and threads watched
	SOAK_MINUTES=$(or $(SOAK_MINUTES),20) $(BIN)/python -m pytest -q -s tests/faults/test_soak.py

.PHONY: lock
lock: $(DEMO) ## pin all requirements anew, with hashes
	$(UV_COMPILE) pyproject.toml --extra demo --extra web --extra camera --extra infra --extra tracking --extra dev --overrides requirements/overrides.txt -o requirements/dev.txt
	$(LAYER) --extra camera --extra infra --overrides requirements/overrides.txt -o requirements/infra.txt
	$(LAYER) --extra camera --overrides requirements/overrides.txt -o requirements/camera.txt
	$(LAYER) --overrides requirements/worker-overrides.txt -o requirements/demo.txt
	$(UV_COMPILE) pyproject.toml --extra model --overrides requirements/overrides.txt -o requirements/model.txt
	$(UV_COMPILE) pyproject.toml --extra tracking --overrides requirements/worker-overrides.txt -o requirements/worker.txt
	printf 'nncf>=3.4\nscipy>=1.17\nnumpy\nopencv-python-headless\nopenvino\npydantic\nsimplejpeg\nav>=18\npyyaml\n' | $(UV_COMPILE) - -o requirements/quantise.txt
	printf 'checkov\nparliament\npip-audit\nsimplejpeg\natheris<3.1; sys_platform == "linux" and python_version < "3.13"\n' | $(UV_COMPILE) - -o requirements/scan.txt
	printf 'boto3>=1.42\ncdktn==0.24.0\ncdktn-provider-aws==25.8.1\npydantic>=2.12\npydantic-settings>=2.9\npyyaml>=6\nrich>=14\n' | $(UV_COMPILE) - -o requirements/cdktn.txt
	printf 'setuptools\npytest-runner\n' | $(UV_COMPILE) - --constraints requirements/dev.txt -o requirements/build.txt
	printf 'uv\n' | $(UV_COMPILE) - -o requirements/uv.txt

.PHONY: clean
clean: ## remove what was made here
	rm -rf $(VENV) .independent .tools .venv-3.* $(MODEL_VENV) $(SCAN_VENV) $(QUANTISE_VENV) $(CDKTN_VENV) demo-output cdktf.out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
