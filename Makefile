# One target a job; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export NUMBA_CACHE_DIR ?= $(CURDIR)/.cache/numba
# Every process of a cluster would compile its sources anew where somebody's environment forbids to keep what came of it.
unexport PYTHONDONTWRITEBYTECODE
PROTOS := $(wildcard proto/fasttree/v1/*.proto)

.PHONY: help setup setup-run lock sbom gen test check check-kubernetes image image-before test-kubernetes demo sim fuzz mutants chaos evening attack h2spec bench bench-tree bench-fanout bench-engines bench-changeovers bench-failover bench-quota bench-spool bench-messages bench-reads bench-telemetry bench-console bench-overload bench-tls bench-sealing bench-log-ids released-api clean

help: ## Lists the targets.
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.run: requirements/run.txt pyproject.toml
	@tools/need $(PYTHON)=python3.11
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { tools/need no-venv=python3.11-venv && $(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/run.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/dev.txt
	touch $@

setup-run: $(VENV)/.run ## Installs what a running cluster needs into .venv/.

setup: $(VENV)/.dev ## Installs what tests and checks need too.

lock: ## Pins requirements/*.txt anew from pyproject.toml: versions, and the hashes of every file of each.
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate --allow-unsafe --generate-hashes --extra demo --extra jetstream --extra objects --extra postgres --output-file requirements/run.txt pyproject.toml requirements/build.in
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate --allow-unsafe --generate-hashes --extra demo --extra jetstream --extra objects --extra postgres --extra dev --output-file requirements/dev.txt pyproject.toml requirements/build.in

sbom: $(VENV)/.dev ## Writes dist/sbom.cdx.json: what a release runs with, and the licence of each (CycloneDX).
	$(BIN)/python -m tools.sbom dist/sbom.cdx.json

gen: $(VENV)/.dev ## Makes the stubs in gen/ from proto/.
	bash tools/gen gen

demo: $(VENV)/.run ## Runs a whole cluster with a sample tree, state in .demo/, until Ctrl-C.
	$(BIN)/fasttree up --dir .demo --sample $(DEMO_FLAGS)

# Whole clusters of processes, which would be late beside others; the rest runs two files at a time.
CLUSTER_TESTS := tests/bench tests/command/live tests/command/test_machines.py tests/command/test_node_process.py \
	tests/command/test_supervisor.py tests/command/test_terminal.py tests/command/test_tour.py tests/command/test_up.py \
	tests/end_to_end tests/vip
WORKERS ?= 2

test: $(VENV)/.dev node_modules/.bin/buf ## Installs, then runs all tests.
	@tools/need chromium=chromium /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf=fonts-dejavu-core haproxy=haproxy ip=iproute2 ld=binutils openssl=openssl node=nodejs npm=npm java=openjdk-17-jdk-headless mvn=maven pgbouncer=pgbouncer /usr/lib/postgresql/15/bin/postgres=postgresql-15 promtool=prometheus prometheus=prometheus
	$(BIN)/python -m services.treenode.kernels.warm_up
	$(BIN)/python -m tests.kubernetes.binaries etcd kube-apiserver kubectl helm certificates >/dev/null
	$(BIN)/python -m tests.end_to_end.go_programs >/dev/null
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile $(CLUSTER_TESTS:%=--ignore=%) --ignore=tests/kubernetes/real
	$(BIN)/pytest $(CLUSTER_TESTS)

# BASE=base.tar: another base than Debian's packages.
image: $(VENV)/.run ## Builds the container images into dist/, without a container engine; JSON last. As root.
	@tools/need apt-get=apt dpkg-deb=dpkg strip=binutils unshare=util-linux
	@$(BIN)/python -m tools.image $(if $(BASE),--base $(BASE))

KUBERNETES_PACKAGES := conntrack=conntrack /usr/lib/cni/ptp=containernetworking-plugins ip=iproute2 ipset=ipset \
	iptables=iptables nft=nftables openssl=openssl runc=runc
K8S_NODES ?= 2
# The release before Kubernetes, which the tests of upgrades begin with: image and tag "before".
BEFORE ?= d5fd82b307415a1ea23bcb48796076934a37c9b2
K8S_TESTS ?= tests/kubernetes/real

image-before: $(VENV)/.run ## Builds the images of the commit BEFORE as well, for tests of upgrades.
	@$(BIN)/python -m tools.image $(if $(BASE),--base $(BASE)) --code $(BEFORE) --tag before

test-kubernetes: $(VENV)/.dev image image-before ## The images on a whole Kubernetes: the one of KUBECONFIG, else one of its own (as root).
ifdef KUBECONFIG
	@echo "not for another's cluster, whose machines end and whose volumes fill up: tests marked own_cluster"
	$(BIN)/pytest -m "not own_cluster" $(K8S_TESTS)
else
	@tools/need $(KUBERNETES_PACKAGES)
	@$(BIN)/python -m tests.kubernetes.binaries >/dev/null
	@$(BIN)/python -m tests.kubernetes.foreign_kinds >/dev/null
	@$(BIN)/python -m tests.kubernetes.cluster run --nodes $(K8S_NODES) --image dist/fasttree-*.*.oci.tar --image dist/fasttree-before.oci.tar -- $(BIN)/pytest $(K8S_TESTS)
endif

check-kubernetes: $(VENV)/.dev ## checkov over every manifest of deploy/k8s; installs it the first time.
	$(BIN)/python -m tests.kubernetes.binaries kubectl >/dev/null
	$(BIN)/python -m tests.kubernetes.checkov

SEEDS ?= 2000

sim: $(VENV)/.dev ## Simulates whole clusters from SEEDS=2000 seeds, then finds every planted bug; JSON last.
	$(BIN)/python -m tests.simulator --seeds $(SEEDS)

SAMPLE ?= 0
SEED ?= 1

FUZZ_S ?= 1800

EXECUTIONS ?= 400000

fuzz: $(VENV)/.dev ## Nasty updates, FUZZ_S=1800 seconds for each of three tests; then each parser, EXECUTIONS=400000 inputs; JSON last.
	FASTTREE_FUZZ_S=$(FUZZ_S) $(BIN)/pytest -q --timeout 0 tests/treenode/tree/test_fuzzed_updates.py
	@$(BIN)/python -m tests.fuzz --executions $(EXECUTIONS)

mutants: $(VENV)/.dev ## Breaks the rules of cores and engine, SAMPLE=0 (all) times; lists what no test notices; JSON last.
	$(BIN)/python -m tools.mutants --sample $(SAMPLE) --seed $(SEED) --only "$(ONLY)"

MEMBERS ?= 1000000
NODES ?= 2
PEER ?= postgres

bench-tree: $(VENV)/.dev ## Measures the tree of MEMBERS=1000000 beside PostgreSQL 15 (PEER=none: alone); JSON last.
	@test "$(PEER)" = none || tools/need /usr/lib/postgresql/15/bin/postgres=postgresql-15
	@$(BIN)/python -m bench.tree --members $(MEMBERS) --peer $(PEER)

READ_ROUNDS ?= 3
bench-reads: $(VENV)/.dev ## Point reads by stock clients, beside PostgreSQL's; JSON last.
	@test "$(PEER)" = none || tools/need /usr/lib/postgresql/15/bin/postgres=postgresql-15
	@tools/need h2load=nghttp2-client
	@$(BIN)/python -m bench.reads --members $(MEMBERS) --rounds $(READ_ROUNDS) --peer $(PEER)

h2spec: $(VENV)/.dev ## The gRPC server beside h2spec, the conformance tests of HTTP/2; JSON last.
	@$(BIN)/python -m bench.h2spec

SECONDS_OF_CHAOS := $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),60)
chaos: $(VENV)/.dev ## Kills, stops and cuts off a real cluster under load: make chaos SECONDS=60 HOSTILE=yes MACHINES=3 ENGINES=nats.
	@tools/need ip=iproute2 iptables=iptables
	$(BIN)/python -m bench.chaos --seconds $(SECONDS_OF_CHAOS) $(if $(LOGS),--logs $(LOGS)) $(if $(HOSTILE),--hostile) $(if $(MACHINES),--machines) $(if $(ENGINES),--engines $(ENGINES))

evening: $(VENV)/.dev ## An evening's drill: faults of a real cluster, and who told of each, how soon; a table, JSON last.
	@tools/need prometheus=prometheus
	@$(BIN)/python -m bench.evening $(if $(ONLY),--only "$(ONLY)")

SCALE ?= 1
attack: $(VENV)/.dev ## What no honest client sends, against a live cluster, SCALE=1 of it; JSON last.
	$(BIN)/python -m bench.attack --scale $(SCALE)

ROUNDS ?= 20
bench-engines: $(VENV)/.dev ## Orders by the engine of the log: SQLite, PostgreSQL, JetStream; JSON last.
	@tools/need /usr/lib/postgresql/15/bin/postgres=postgresql-15
	@$(BIN)/python -m bench.engines --members $(MEMBERS)

bench-changeovers: $(VENV)/.dev ## Switches and kills active pushers under orders, ROUNDS=20 each; JSON last.
	@$(BIN)/python -m bench.changeovers --rounds $(ROUNDS)

bench-failover: $(VENV)/.dev ## Kills and switches primaries under reads, ROUNDS=20 each; JSON last.
	@$(BIN)/python -m bench.failover --rounds $(ROUNDS)

PERCENT ?= 50
bench-quota: $(VENV)/.dev ## Imports and orders on nodes with PERCENT=50 of a processor each: no role may change; JSON last.
	@$(BIN)/python -m bench.quota --members $(MEMBERS) --percent $(PERCENT)

bench-telemetry: $(VENV)/.dev ## What telemetry costs an order, in pairs; JSON last.
	@$(BIN)/python -m bench.telemetry

bench-tls: $(VENV)/.dev ## Orders and reads by certificates, beside the same in clear; JSON last.
	@$(BIN)/python -m bench.tls --members $(MEMBERS)

bench-sealing: $(VENV)/.dev ## Orders and snapshots with state files sealed, beside the same in clear; JSON last.
	@$(BIN)/python -m bench.sealing --members $(MEMBERS)

IDS ?= 100000000
STORE ?= sqlite
bench-log-ids: $(VENV)/.dev ## What IDS=100000000 ids of trimmed records cost a push, by STORE=sqlite; JSON last.
	@$(BIN)/python -m bench.log_ids --store $(STORE) --ids $(IDS)

bench-console: $(VENV)/.dev ## How long the console's tree of MEMBERS=1000000 takes in chromium; JSON last.
	@tools/need chromium=chromium
	@$(BIN)/python -m bench.console --members $(MEMBERS)

SECONDS_OF_OVERLOAD := $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),60)
REPORT ?= summary
bench-overload: $(VENV)/.dev ## Ten times as many reads and pushes as can be done, for SECONDS=60: what is answered; REPORT=page: of another report; JSON last.
	@$(BIN)/python -m bench.overload --seconds $(SECONDS_OF_OVERLOAD) --report $(REPORT)

RECORDS ?= 1000000
bench-spool: $(VENV)/.dev ## A file of RECORDS=1000000 through the spool of a real cluster; JSON last.
	@$(BIN)/python -m bench.spool --records $(RECORDS)

RECIPIENTS ?= 100000
bench-messages: $(VENV)/.dev ## A message to RECIPIENTS=100000, while its service is killed five times; JSON last.
	@$(BIN)/python -m bench.messages --recipients $(RECIPIENTS)

bench: bench-tree bench-fanout bench-failover ## All three benches, one after another.

bench-fanout: $(VENV)/.dev ## Orders to every node (NODES=2), beside PostgreSQL with two standbys; JSON last.
	@test "$(PEER)" = none || tools/need /usr/lib/postgresql/15/bin/postgres=postgresql-15
	$(BIN)/python -m bench.fanout --members $(MEMBERS) --nodes $(NODES) --peer $(PEER)

node_modules/.bin/buf: package.json
	@tools/need npm=npm
	npm install --no-save --no-package-lock --no-audit --no-fund --silent
	touch $@

check: $(VENV)/.dev node_modules/.bin/buf ## Style, types, the API's rules, fresh stubs.
	tools/check

released-api: node_modules/.bin/buf ## Records today's API as the one that later changes must not break.
	cd proto && ../node_modules/.bin/buf build --output released.binpb

clean: ## Removes what was installed and made here (not .demo/).
	rm -rf $(VENV) node_modules .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
