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
.PHONY: help toolchain build release demo test clients-test mpi-test observability-test clat-test web-test soak lint bench deb deb-test system-test fuzz install uninstall clean

help: ## this list
	@echo "Bramblegate: gateway and panel for the head node of a small cluster"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo
	@echo "make install takes DESTDIR= and PREFIX= (now $(PREFIX)); NO_INSTALL=1 keeps make from installing packages."

toolchain:
	@scripts/toolchain.sh "$(CARGO)"

build: toolchain ## the program, quickly, for trying things
	@scripts/packages.sh build
	$(CARGO) build --locked --workspace

release: toolchain ## the program as it is installed: small and stripped
	@scripts/packages.sh build
	$(CARGO) build --locked --workspace --release

demo: toolchain ## see it all on this machine, without hardware, touching none of its networks (ARGS="--seconds 60 --plain")
	@scripts/packages.sh demo
	$(CARGO) build --locked --workspace
	@$(DEBUG) demo $(ARGS)

test: toolchain ## every test but the slow ones: system-test, clients-test, mpi-test, observability-test, clat-test, web-test, soak
	@scripts/packages.sh test
	@# With the tests: their dependencies' features are others, and all would be built twice.
	$(CARGO) build --locked --workspace --bins --tests
	$(CARGO) test --locked --workspace --no-fail-fast $(ARGS)

clients-test: toolchain ## uplinks in every state with the DHCP clients of Debian 12 and 13, our table with their nft (needs root; ARGS="nm-13" picks some)
	@scripts/packages.sh clients
	@scripts/client-roots.sh $(TARGET)/client-roots
	$(CARGO) test --locked --test clients -- $(ARGS)

mpi-test: toolchain ## a sort on one, two and three nodes by the Open MPI of Debian 12 and 13, also where the venue has the cluster's subnet (needs root; ARGS="trixie" picks some)
	@scripts/packages.sh mpi
	@scripts/mpi-roots.sh $(TARGET)/mpi-roots
	$(CARGO) build --locked --workspace
	$(CARGO) test --locked --test mpi -- --nocapture $(ARGS)

# avahi-browse, and the libraries of both programs.
AVAHI = avahi-utils libavahi-core7 libavahi-client3 libavahi-common3 libavahi-common-data libdaemon0
UNPACKED = $(abspath $(TARGET))/unpacked/usr

observability-test: toolchain ## metrics, rules and the Grafana board before Debian's Prometheus; SNMP by the real snmpd (needs root)
	@scripts/packages.sh test observability
	@scripts/unpacked.sh $(TARGET)/unpacked prometheus avahi-daemon $(AVAHI)
	@scripts/base-mibs.sh $(TARGET)/observability/mibs
	@scripts/grafana-sdk.sh $(TARGET)/observability/grafana-sdk
	$(CARGO) build --locked --workspace
	PATH="$$PATH:$(UNPACKED)/bin:$(UNPACKED)/sbin" LD_LIBRARY_PATH="$(UNPACKED)/lib/$$(gcc -print-multiarch)" $(CARGO) test --locked --test observability --test snmp -- $(ARGS)

clat-test: toolchain ## our translation beside tayga's, and BPF beside the core, octet by octet; a venue of IPv6 only (needs root)
	@scripts/packages.sh clat
	$(CARGO) test --locked --package bramblegate-clat --test tayga -- $(ARGS)

web-test: toolchain ## the status page in a real Chromium, pictures in target/web-shots (ARGS="axe" picks some)
	@scripts/packages.sh web
	@scripts/axe.sh $(TARGET)/axe-core
	$(CARGO) build --locked --workspace
	$(CARGO) test --locked --test browser -- --nocapture $(ARGS)

soak: toolchain ## ten thousand nodes that die, flap, come and go, for ten minutes (SECONDS=600)
	@scripts/packages.sh test
	$(CARGO) build --locked --workspace --release
	BRAMBLEGATE_SOAK=$(or $(SECONDS),600) BRAMBLEGATE_PROGRAM=$(abspath $(RELEASE)) $(CARGO) test --locked --test netns -- --nocapture scale::soak

lint: toolchain ## format, clippy, printed rules, boards, units, scripts, manual pages
	@scripts/packages.sh lint
	@scripts/lint.sh

bench: toolchain ## figures, side by side with other ways to do the same (13 minutes; BENCH=bus,rules picks some)
	@scripts/packages.sh bench
	@scripts/unpacked.sh $(TARGET)/unpacked prometheus-node-exporter
	$(CARGO) build --locked --release -p bramblegate-web -p bramblegate-snmp -p bramblegate-clat
	PATH="$$PATH:$(abspath $(TARGET))/unpacked/usr/bin" $(CARGO) bench --locked --bench figures $(ARGS)

deb: toolchain ## Debian packages into target/debian (ARCH=arm64 or armhf: for another machine, needs root)
	@scripts/packages.sh deb $(if $(ARCH),cross)
	@packaging/deb.sh $(ARCH)

deb-test: deb ## install, upgrade, remove and purge the packages in bare Debian 12 and 13 (needs root; ARGS="trixie" picks one)
	@scripts/packages.sh deb-test
	@packaging/deb-roots.sh $(TARGET)/deb/roots
	@packaging/deb-test.sh $(ARGS)

system-test: toolchain ## whole emulated machines of Debian 12 and 13: packages, power cuts, systemd, USB devices (25 minutes; ARGS="packages" picks a part, CUTS=20)
	@scripts/packages.sh system deb
	@tests/system/run.sh $(ARGS)

fuzz: toolchain ## feed rubbish to every parser (SECONDS_EACH=60, ARGS="settings http")
	@scripts/fuzz.sh $(ARGS)

install: ## put everything in place; does not start anything
	@[ -x $(RELEASE) ] || $(MAKE) release
	@scripts/install.sh install "$(RELEASE)" "$(DESTDIR)" "$(PREFIX)" "$(SYSLIB)"

uninstall: ## take it all away again; settings and state stay
	@scripts/install.sh uninstall "$(RELEASE)" "$(DESTDIR)" "$(PREFIX)" "$(SYSLIB)"

clean: ## what the build made
	$(CARGO) clean
