# Every command of the project. `make` prints this help.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
PYTHON_PATHS := eco2 tests tools migrations

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing: Debian packages (as root), .venv, hashed requirements
	@scripts/bootstrap

.PHONY: tools
tools: ## Only .venv and its hashed requirements, without Debian packages: enough for commands that start no server
	@scripts/bootstrap --without-servers

.PHONY: demo
demo: setup ## Start the platform, scan the demo photo, print the guide and the address of the page
	@$(BIN)/eco2 up
	@$(BIN)/eco2 scan data/demo/coffee.jpg
	@printf '\nNow the same in a browser, without an account: '
	@$(BIN)/eco2 local url

.PHONY: up
up: setup ## Start the platform in the background
	@$(BIN)/eco2 up

.PHONY: down
down: ## Stop it
	@$(BIN)/eco2 down

.PHONY: web
web: ## Build the page (web/) into eco2/web/static, where it has changed; part of `make setup`
	@scripts/web

APART := --ignore tests/infra --ignore tests/cluster
.PHONY: test
test: setup ## Everything a contributor runs before a commit: lint, then all tests against real servers
	@$(MAKE) --no-print-directory lint
	@$(BIN)/pytest -m "not slow" $(APART)

LAST_FAILED := .pytest_cache/v/cache/lastfailed
.PHONY: test-again
test-again: setup ## After `make test`: run the tests that failed once more, if they were at most 5, and name them
	@$(BIN)/python -c 'import json; found = json.load(open("$(LAST_FAILED)")); print("failed once:", *found, sep="\n  "); exit(len(found) > 5)'
	@$(BIN)/pytest -m "not slow" $(APART) --last-failed --last-failed-no-failures none

.PHONY: gate
gate: ## `make test`, and a few failed tests once more, for a busy machine can fail one without a defect; CI runs this
	@$(MAKE) --no-print-directory test || $(MAKE) --no-print-directory test-again

.PHONY: ci
ci: ## Other targets on Debian 12, in a container where this is none (TARGETS="setup lint test-deploy")
	@set -f; scripts/in-debian $(MAKE) --no-print-directory $$TARGETS

.PHONY: test-full
test-full: test test-slow ## The same, the slow lane (every server restarted in mid-job), and faults stage by stage

.PHONY: test-slow
test-slow: setup ## The slow lane alone, and faults stage by stage
	@$(BIN)/pytest -m slow $(APART)
	@ECO2_STAGE_BY_STAGE=true $(BIN)/pytest tests/e2e/test_scan.py tests/e2e/test_faults.py tests/e2e/test_llm.py

.PHONY: test-deploy
test-deploy: setup ## Render every manifest and check it, without a cluster (part of `make test`)
	@$(BIN)/pytest tests/deploy -m "not slow"

.PHONY: test-observe
test-observe: setup ## Let Prometheus's own programs judge alerts and dashboards, then start them, inject three faults and follow a scan's trace
	@scripts/bootstrap --observe
	@$(BIN)/pytest tests/observe

.PHONY: test-workflows
test-workflows: tools ## Check .github/workflows by actionlint and zizmor, and run them with stand-ins for what they call
	@tools/workflows/setup
	@$(BIN)/pytest tests/workflows -m "not slow"
	@$(BIN)/pytest tests/workflows -m slow

.PHONY: test-last-release
test-last-release: setup ## Run the last release's tests of stores, and its scans, on the schema of this checkout
	@$(BIN)/python -m tools.last_release

.PHONY: restore-drill
restore-drill: setup ## Back up a database, prove it, damage archives, restore: on real servers
	@$(BIN)/pytest tests/integration/jobs/test_backup.py

.PHONY: drill
drill: setup ## Rehearse an operator's worst days on a stack of its own, by the commands of the pages (ARGS="keys restore upgrade first-scan")
	@$(BIN)/python -m tests.drills $(if $(ARGS),$(ARGS),--help)

.PHONY: audit
audit: tools ## Faults in the code (bandit), secrets, vulnerabilities in what is locked (by network; without it exit code 2). ARGS="code secrets"
	@$(BIN)/python -m tools.audit $(ARGS)

.PHONY: test-infra
test-infra: setup ## Plan every environment with Terraform and mocks, run roles and scripts against doubles; without a cloud
	@tools/infra/setup
	@$(BIN)/pytest tests/infra -m "not slow"

.PHONY: test-infra-full
test-infra-full: test-infra ## The same and its slow lane: upgrade, reset and the loss of a control plane node on chroots
	@$(BIN)/pytest tests/infra -m slow

.PHONY: cluster
cluster: setup ## Start a control plane of the cluster's own programs with the objects of dev (ARGS=--environment prod); needs Go, the first time an hour of CPU
	@tools/infra/setup
	@$(BIN)/python -m tools.cluster up $(ARGS)

.PHONY: cluster-down
cluster-down: ## Stop it
	@$(BIN)/python -m tools.cluster down

.PHONY: test-cluster
test-cluster: setup ## Let the cluster's own programs judge every manifest: one table at the end; needs Go, the first time an hour of CPU
	@tools/infra/setup
	@$(BIN)/python -m tools.cluster build
	@$(BIN)/pytest tests/cluster $(ARGS)

.PHONY: test-deploy-mutations
test-deploy-mutations: setup ## Make plausible mistakes in a copy of the manifests, one by one: each must be caught by name
	@$(BIN)/pytest tests/deploy/test_mutations.py

.PHONY: image
image: setup ## Build every target of the image without Docker (as root, several minutes), look into it, start every process from it
	@if [ -f web/package.json ]; then $(MAKE) --no-print-directory web; fi
	@$(BIN)/python -m tools.image

# What the workflows call besides (docs/guides/delivery.md). Their arguments come by the environment, never as text of a shell.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
SERVICE_OPTIONS = set -f --; for service in $$SERVICES; do set -- "$$@" --service "$$service"; done

.PHONY: changed
changed: tools ## Services and targets of the image that differ from what the environment of BRANCH runs, as lines for a workflow
	@$(BIN)/eco2 release changed --branch "$$BRANCH" --outputs

.PHONY: image-build
image-build: tools ## Build one TARGET of the image into build/oci, on the base that the Dockerfile names, and look into it
	@scripts/web
	@$(AS_ROOT) $(BIN)/python -m tools.image build "$$TARGET"

.PHONY: image-scan
image-scan: tools ## Look for known vulnerabilities in the built TARGET; fetches trivy's data
	@$(AS_ROOT) $(BIN)/python -m tools.image scan "$$TARGET"

.PHONY: image-push
image-push: tools ## Push the built TARGET under the tags of SERVICES for ENVIRONMENT, sign it, attach its bill of materials
	@$(SERVICE_OPTIONS); $(BIN)/python -m tools.image push "$$TARGET" --environment "$$ENVIRONMENT" "$$@"

.PHONY: deploy-promote
deploy-promote: tools ## Let ENVIRONMENT run SERVICES of REVISION; prints the commit as a line for a workflow
	@$(SERVICE_OPTIONS); $(BIN)/eco2 release promote "$$ENVIRONMENT" --revision "$$REVISION" --outputs "$$@"

.PHONY: deploy-wait
deploy-wait: tools ## Wait until Argo CD says that ENVIRONMENT is healthy with what RELEASE changed
	@$(BIN)/eco2 release wait "$$ENVIRONMENT" --release "$$RELEASE"

.PHONY: deploy-rollback
deploy-rollback: tools ## Undo RELEASE of ENVIRONMENT; prints the commit as a line for a workflow
	@$(BIN)/eco2 release rollback "$$ENVIRONMENT" --release "$$RELEASE" --outputs

.PHONY: deploy-notice
deploy-notice: tools ## Tell Slack and Discord how a deployment went
	@$(BIN)/eco2 release notice "$$ENVIRONMENT" --result "$$RESULT" --release "$$RELEASE" --rollback "$$ROLLBACK" --undone "$$UNDONE" --restored "$$RESTORED" --url "$$RUN_URL"

.PHONY: notice
notice: tools ## Tell Slack and Discord TEXT
	@$(BIN)/eco2 release tell "$$TEXT"

.PHONY: smoke
smoke: tools ## Ask the platform at URL for one of everything
	@$(BIN)/eco2 smoke "$$URL"

.PHONY: infra-plan
infra-plan: tools ## Say what Terraform would change in ENVIRONMENT
	@scripts/deployment/plan.sh --environment "$$ENVIRONMENT"

.PHONY: infra-apply
infra-apply: tools ## Bring AWS to what the checkout says of ENVIRONMENT
	@scripts/deployment/bootstrap_cluster.sh --environment "$$ENVIRONMENT" --yes --skip-ansible --skip-argocd

.PHONY: infra-configure
infra-configure: tools ## Bring the nodes of ENVIRONMENT and their Argo CD to what the checkout says
	@tools/infra/setup
	@PATH="$(CURDIR)/.venv-infra/bin:$$PATH" ANSIBLE_CONFIG="$(CURDIR)/ansible/ansible.cfg" \
		scripts/deployment/bootstrap_cluster.sh --environment "$$ENVIRONMENT" --yes --skip-terraform

.PHONY: release-publish
release-publish: tools ## Make a release on GitHub of TAG, with what CHANGELOG.md says of it
	@mkdir -p build
	@$(BIN)/python -m tools.release_notes "$$TAG" >build/release-notes.md
	@gh release create "$$TAG" --verify-tag --title "$$TAG" --notes-file build/release-notes.md

.PHONY: bench
bench: setup ## Measure speed and memory against the lines of docs/benchmarks/performance.md (ARGS=--quick for short rounds)
	@$(BIN)/python -m tests.load $(ARGS)

.PHONY: load
load: setup ## Let 100 to 2000 users scan, chat, look at the map and read the page, and judge every pass line; writes build/load.html (docs/reliability.md; ARGS="--users 100,500 --quick")
	@$(BIN)/python -m tests.load.journeys $(ARGS)

.PHONY: chaos
chaos: setup ## Break everything under load for 20 minutes, then audit that nothing was lost, doubled or paid again (docs/reliability.md; ARGS="--seed 7 --minutes 5")
	@$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: eval
eval: setup ## Ask the knowledge base the questions of data/eval, by tag and round; fails on a drop against the report (ARGS=--write replaces it); with a key, the paid model too
	@$(BIN)/python -m eco2.knowledge.stewards.evaluation $(ARGS)
	@$(BIN)/python -m eco2.recycling.evaluation

.PHONY: eval-chat
eval-chat: setup ## Hold the conversations of data/eval/chat with the agent; fails on a drop against the report (ARGS=--write replaces it), with a key by the paid model
	@$(BIN)/python -m eco2.chat.evaluation $(ARGS)

.PHONY: eval-vision
eval-vision: setup ## How often the embedded vision model answers and is right; fails where it falls behind its report
	@$(BIN)/python -m tools.vision.evaluate

.PHONY: lint
lint: ## Style, types, import walls, manifests, shell, Dockerfile
	@$(BIN)/ruff check $(PYTHON_PATHS)
	@$(BIN)/ruff format --check $(PYTHON_PATHS)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/shellcheck -x tools/infra/setup tools/workflows/setup scripts/bootstrap scripts/image-install scripts/lock scripts/in-debian scripts/propose scripts/protos scripts/compose-env scripts/cluster-status scripts/domain-check scripts/observe-tools scripts/web scripts/chromium .ci/run scripts/*.sh scripts/*/*.sh
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/yamllint --strict .github atlantis.yaml terraform clusters platform workloads compose.yaml data tests/deploy

.PHONY: format
format: ## Format the code
	@$(BIN)/ruff check --fix $(PYTHON_PATHS)
	@$(BIN)/ruff format $(PYTHON_PATHS)

.PHONY: openapi
openapi: ## Write docs/api/openapi.json and docs/api/errors.md from the code
	@$(BIN)/python -m tools.openapi docs/api/openapi.json
	@$(BIN)/python -m tools.errors docs/api/errors.md

.PHONY: metrics
metrics: ## Write docs/metrics.md from the code
	@$(BIN)/python -m tools.metrics docs/metrics.md

.PHONY: dashboards
dashboards: ## Write Grafana's dashboards (workloads/monitoring/base/dashboards) from tools/dashboards/boards.py
	@$(BIN)/python -m tools.dashboards

.PHONY: manifests
manifests: ## Write the folder of every process that has none in workloads/domains
	@$(BIN)/python -m tools.manifests

.PHONY: proto
proto: ## Generate the gRPC code from proto/
	@scripts/protos

.PHONY: lock
lock: ## Pin every dependency with hashes (requirements/*.txt) from pyproject.toml
	@scripts/lock

.PHONY: lock-upgrade
lock-upgrade: tools ## The same with the newest versions that pyproject.toml allows
	@scripts/lock --upgrade

.PHONY: lock-propose
lock-propose: ## Open a pull request with the newer versions
	@scripts/propose updates/python "Take newer Python packages"

.PHONY: clean
clean: ## Stop the platform and forget its data, logs and credentials
	@if [ -x $(BIN)/eco2 ]; then $(BIN)/eco2 down; fi
	@if [ -L .eco2 ]; then rm -rf "$$(readlink .eco2)"; fi
	@rm -rf .eco2
