# `make` alone lists what there is. NO_INSTALL=1 names missing packages instead of installing them.

CARGO   ?= cargo
PREFIX  ?= /usr/local
DESTDIR ?=
# systemd, udev and sysusers of Debian 12 read some of these only below /usr/lib, whatever the prefix.
SYSLIB  ?= /usr/lib
TARGET  := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release/bramblegate
DEBUG   := $(TARGET)/debug/bramblegate

export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin
export CARGO

.DEFAULT_GOAL := help
.PHONY: help toolchain build release demo test clients-test mpi-test observability-test clat-test web-test soak lint bench deb deb-test system-test pi-test fuzz install uninstall clean

help: ## this list
	@echo "Bramblegate: gateway and panel for the head node of a small cluster"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{ printf "  %-25s%s\n", $$1, $$2 }'
	@echo
	@echo "make install takes DESTDIR= and PREFIX= (now $(PREFIX))."
	@echo "NO_INSTALL=1 keeps make from installing packages."
	@echo "What a target takes or needs is above it in the Makefile."

toolchain:
	@scripts/toolchain.sh "$(CARGO)"

build: toolchain ## the program, quickly, for trying things
	@scripts/packages.sh build
	$(CARGO) build --locked --workspace

release: toolchain ## the program as it is installed: small and stripped
	@scripts/packages.sh build
	$(CARGO) build --locked --workspace --release

# ARGS="--seconds 60 --plain"
demo: toolchain ## see it all here, without hardware and without risk
	@scripts/packages.sh demo
	$(CARGO) build --locked --workspace
	@$(DEBUG) demo $(ARGS)

test: toolchain ## every test but those named -test, and soak
	@scripts/packages.sh test
	@# With the tests: their dependencies' features are others, and all would be built twice.
	$(CARGO) build --locked --workspace --bins --tests
	$(CARGO) test --locked --workspace --no-fail-fast $(ARGS)

# needs root; ARGS="nm-14" picks some
clients-test: toolchain ## uplinks with the DHCP clients of Debian 12, 13 and 14
	@scripts/packages.sh clients
	@scripts/client-roots.sh $(TARGET)/client-roots
	$(CARGO) build --locked --workspace
	$(CARGO) test --locked --test clients -- $(ARGS)

# needs root; ARGS="trixie" picks some
mpi-test: toolchain ## a sort on one, two and three nodes by Open MPI
	@scripts/packages.sh mpi
	@scripts/mpi-roots.sh $(TARGET)/mpi-roots
	$(CARGO) build --locked --workspace
	$(CARGO) test --locked --test mpi -- --nocapture $(ARGS)

# avahi-browse, and the libraries of both programs.
AVAHI = avahi-utils libavahi-core7 libavahi-client3 libavahi-common3 libavahi-common-data libdaemon0
UNPACKED = $(abspath $(TARGET))/unpacked/usr

# needs root
observability-test: toolchain ## metrics before Prometheus, SNMP by snmpd
	@scripts/packages.sh test observability
	@scripts/unpacked.sh $(TARGET)/unpacked prometheus avahi-daemon $(AVAHI)
	@scripts/base-mibs.sh $(TARGET)/observability/mibs
	@scripts/grafana-sdk.sh $(TARGET)/observability/grafana-sdk
	$(CARGO) build --locked --workspace
	PATH="$$PATH:$(UNPACKED)/bin:$(UNPACKED)/sbin" LD_LIBRARY_PATH="$(UNPACKED)/lib/$$(gcc -print-multiarch)" $(CARGO) test --locked --test observability --test snmp -- $(ARGS)

# needs root
clat-test: toolchain ## the translator beside tayga; a venue of IPv6 only
	@scripts/packages.sh clat
	$(CARGO) test --locked --package bramblegate-clat --test tayga -- $(ARGS)

# pictures in target/web-shots; ARGS="axe" picks some
web-test: toolchain ## the status page in a real Chromium
	@scripts/packages.sh web
	@scripts/axe.sh $(TARGET)/axe-core
	$(CARGO) build --locked --workspace
	$(CARGO) test --locked --test browser -- --nocapture $(ARGS)

# SECONDS=600
soak: toolchain ## ten thousand nodes that come and go, for ten minutes
	@scripts/packages.sh test
	$(CARGO) build --locked --workspace --release
	BRAMBLEGATE_SOAK=$(or $(SECONDS),600) BRAMBLEGATE_PROGRAM=$(abspath $(RELEASE)) $(CARGO) test --locked --test netns -- --nocapture scale::soak

lint: toolchain ## format, clippy, printed rules, boards, units, pages
	@scripts/packages.sh lint
	@scripts/lint.sh

# BENCH=bus,rules picks some
bench: toolchain ## figures, side by side with other ways (half an hour)
	@scripts/packages.sh bench
	@scripts/unpacked.sh $(TARGET)/unpacked prometheus-node-exporter
	$(CARGO) build --locked --release -p bramblegate-web -p bramblegate-snmp -p bramblegate-clat
	PATH="$$PATH:$(abspath $(TARGET))/unpacked/usr/bin" $(CARGO) bench --locked --bench figures $(ARGS)

# ARCH=arm64 or armhf: for another machine, needs root
deb: toolchain ## Debian packages into target/debian
	@scripts/packages.sh deb $(if $(ARCH),cross)
	@packaging/deb.sh $(ARCH)

# needs root; ARGS="trixie" picks one
deb-test: deb ## the packages in bare Debian 12 and 13
	@scripts/packages.sh deb-test
	@packaging/deb-roots.sh $(TARGET)/deb/roots
	@packaging/deb-test.sh $(ARGS)

# ARGS="packages" picks a part, CUTS=20
system-test: toolchain ## whole emulated machines (25 minutes)
	@scripts/packages.sh system deb
	@tests/system/run.sh $(ARGS)

# needs root, 5 minutes once built; ANOTHER=FILE beside another build, RATIO=0.5 of its time at most
pi-test: toolchain ## an emulated Raspberry Pi 3, from boot to address
	@scripts/packages.sh pi cross
	@ANOTHER="$(ANOTHER)" RATIO="$(RATIO)" tests/system/pi/run.sh

# SECONDS_EACH=60 ARGS="settings http"
fuzz: toolchain ## feed rubbish to every parser
	@scripts/fuzz.sh $(ARGS)

install: ## put everything in place; does not start anything
	@[ -x $(RELEASE) ] || $(MAKE) release
	@scripts/install.sh install "$(RELEASE)" "$(DESTDIR)" "$(PREFIX)" "$(SYSLIB)"

uninstall: ## take it all away again; settings and state stay
	@scripts/install.sh uninstall "$(RELEASE)" "$(DESTDIR)" "$(PREFIX)" "$(SYSLIB)"

clean: ## what the build made
	$(CARGO) clean
