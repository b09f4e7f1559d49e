#!/bin/bash
# packages.sh PURPOSE...: what a purpose needs from the distribution (Debian 12 and 13, Raspberry Pi OS), and only what is
# missing, is named and installed. PURPOSE: build, demo, test, clients, mpi, observability, clat, web, bench, deb, cross,
# deb-test, lint, system, pi, ci.
#   NO_INSTALL=1   name what is missing and stop with 69
#   --list         print the packages of the purposes, installed or not
# Packages are only ever added: an installation that would remove another package is refused.
set -euo pipefail

# purpose | how to see that it is there | package | what for
table='
ci     | cmd make                 | make                   | runs the steps
build  | cmd cc                   | gcc                    | links the program
build  | header stdio.h           | libc6-dev              | the same; gcc only recommends it
build  | cmd pkg-config           | pkg-config             | finds the two libraries
build  | pc libmnl                | libmnl-dev             | netlink messages
build  | pc libnftnl              | libnftnl-dev           | firewall rules as the kernel takes them
demo   | cmd ip                   | iproute2               | private networks to play in
demo   | cmd unshare              | util-linux             | the same
demo   | cmd dnsmasq              | dnsmasq-base           | DHCP server of the imitated venue, DHCP and DNS for the nodes
demo   | cmd busybox              | busybox                | the internet host: a small web server
demo   | cmd udhcpc               | udhcpc                 | a real DHCP client
demo   | cmd nft                  | nftables               | the foreign tool that flushes the rules
demo   | cmd ping                 | iputils-ping           | traffic of the nodes
test   | cmd iperf3               | iperf3                 | a transfer that must survive a restart
test   | cmd conntrack            | conntrack              | looks at tracked connections
test   | cmd tcpdump              | tcpdump                | what is on the wire
test   | cmd iptables             | iptables               | another tool with a drop policy
test   | cmd ethtool              | ethtool                | offload settings of the imitated cables
test   | cmd nc                   | netcat-openbsd         | plain connections, the port scan
test   | cmd dhcpcd              | dhcpcd-base            | DHCP client of a node, another kind
test   | cmd ssh                  | openssh-client         | goes by the settings written for it
test   | cmd dropbear             | dropbear-bin           | an ssh server, which no service starts, at the end of that way
test   | cmd wpa_supplicant      | wpasupplicant          | joins wireless networks
test   | cmd zsh                  | zsh                    | completes a command line
test   | cmd fish                 | fish                   | the same
test   | cmd nodeset             | clustershell           | reads folded names of nodes
test   | cmd pdsh                | pdsh                   | the same
test   | cmd tayga                | tayga                  | the NAT64 of a hall that speaks only IPv6
test   | cmd sysctl               | procps                 | settings of the private networks
test   | cmd faketime             | faketime               | sets the clock of single programs
clients | cmd mmdebstrap          | mmdebstrap             | small roots of two releases, with their DHCP clients
mpi    | cmd mmdebstrap           | mmdebstrap             | small roots of two releases, with Open MPI
observability | cmd snmpd          | snmpd                  | the SNMP agent of the system
observability | cmd snmpwalk       | snmp                   | asks it
observability | cmd snmptrapd      | snmptrapd              | receives notifications
observability | cmd smilint        | smitools               | checks the MIB
observability | cmd dbus-daemon    | dbus-daemon            | a bus of its own for both
observability | cmd nsenter        | util-linux             | looks with the bus of one of them
observability | cmd pip3           | python3-pip            | fetches the types of Grafana boards
observability | cmd python3        | python3                | checks the board against them
observability | cmd npm            | npm                    | fetches the modules that it imports
observability | cmd setpriv        | util-linux             | the subagent without root
bench  | cmd snmpd                 | snmpd                  | a table of its own to compare with
bench  | cmd snmpbulkwalk          | snmp                   | walks both
clat   | cmd tayga               | tayga                  | another translator, which ours is compared with
clat   | cmd ip                  | iproute2               | a private network to do it in
clat   | cmd nft                 | nftables               | translates addresses of nodes
clat   | cmd ping                | iputils-ping           | traffic of a node
clat   | cmd iperf3              | iperf3                 | the same
clat   | cmd nc                  | netcat-openbsd         | the same
clat   | cmd sysctl              | procps                 | settings of the private network
clat   | cmd unshare             | util-linux             | the same
clat   | cmd setpriv             | util-linux             | the program with two capabilities
clat   | cmd ethtool             | ethtool                | offload settings of the imitated cables
clat   | cmd tc                  | iproute2               | shows what is attached
web    | cmd chromium             | chromium               | shows the status page
web    | cmd chromedriver         | chromium-driver        | drives it
web    | cmd npm                  | npm                    | brings axe-core, which looks for barriers
web    | cmd openssl              | openssl                | checks its hash
bench  | cmd python3              | python3                | the scripts it is compared with
bench  | cmd fping                | fping                  | another way to ask many nodes
bench  | cmd tayga                | tayga                  | another translator between IPv4 and IPv6
deb    | cmd dpkg-shlibdeps       | dpkg-dev               | finds what packages depend on
deb    | cmd xz                   | xz-utils               | packs them
cross  | cmd mmdebstrap           | mmdebstrap             | roots with a compiler and libraries for another machine
deb-test | cmd mmdebstrap         | mmdebstrap             | bare roots of two releases
deb-test | cmd lintian            | lintian                | looks for what Debian would refuse
lint   | cmd nft                  | nftables               | checks the printed rule set
lint   | cmd dnsmasq             | dnsmasq-base           | checks the settings printed for it
lint   | cmd unshare              | util-linux             | a private place to do it in
lint   | cmd systemd-analyze      | systemd                | checks the units
lint   | cmd shellcheck           | shellcheck             | checks the scripts
lint   | cmd mandoc               | mandoc                 | checks the manual pages
lint   | cmd clang                | clang                  | makes the BPF object anew
lint   | cmd llvm-objcopy         | llvm                   | compares it with the one that is here
lint   | header linux/bpf.h       | linux-libc-dev         | what the kernel takes
lint   | cmd lexgrog              | man-db                 | the same: what apropos finds of them
system | cmd qemu-system-x86_64   | qemu-system-x86        | the machine
system | cmd mmdebstrap           | mmdebstrap             | its file system
system | cmd mke2fs               | e2fsprogs              | the same
system | cmd modprobe             | kmod                   | picks the kernel modules of its first stage
system | cmd cpio                 | cpio                   | packs its first stage
system | cmd xz                   | xz-utils               | unpacks kernel modules
system | cmd zstd                 | zstd                   | the same
system | cmd fakeroot             | fakeroot               | file owners, when not run by root
pi     | cmd mmdebstrap           | mmdebstrap             | unpacks QEMU, kernel and libraries of Debian 13
pi     | cmd modprobe             | kmod                   | picks kernel modules
pi     | cmd cpio                 | cpio                   | packs the first stage
pi     | cmd xz                   | xz-utils               | unpacks kernel modules
pi     | cmd zstd                 | zstd                   | the same
pi     | cmd readelf              | binutils               | finds the libraries of a program
pi     | cmd unshare              | util-linux             | a private network for QEMU
'

PATH=$PATH:/usr/sbin:/sbin

# An installed program is used as it is, of any release. A missing one must match the installed ones: qemu-utils from the
# backports, for example, needs the qemu-system-x86 of its own release.
explain_refusal() {
    local package source sibling version candidate
    for package in "${missing[@]}"; do
        source=$(apt-cache show "$package" 2>/dev/null | sed -n 's/^Source: \([^ ]*\).*/\1/p' | head -n 1)
        while read -r sibling version; do
            candidate=$(apt-cache policy "$package" | sed -n 's/^ *Candidate: //p')
            [ "$version" != "$candidate" ] || continue
            echo "$sibling $version is installed and wants $package of the same version; these sources have $candidate." >&2
            echo "Add the release that it came from and install by hand: apt-get install -t RELEASE $package" >&2
            break
        done < <(dpkg-query -W -f '${source:Package} ${Status} ${Package} ${Version}\n' 2>/dev/null |
            awk -v source="${source:-$package}" '$1 == source && $4 == "installed" { print $5, $6 }')
    done
    echo "Nothing was removed." >&2
}

present() {
    case $1 in
    cmd) command -v "$2" >/dev/null ;;
    header) [ -e "/usr/include/$2" ] ;;
    pc) command -v pkg-config >/dev/null && pkg-config --exists "$2" ;;
    esac
}

list=0
[ "${1:-}" = --list ] && { list=1; shift; }
[ $# -gt 0 ] || { sed -n '2,7s/^# //p' "$0" >&2; exit 64; }

# Each purpose brings those it builds upon.
purposes=" "
for purpose in "$@"; do
    case $purpose in
    demo) purposes+="build demo " ;;
    test) purposes+="build demo test " ;;
    web) purposes+="build demo test web " ;;
    clients | mpi) purposes+="build demo test $purpose " ;;
    observability) purposes+="build demo test observability " ;;
    clat) purposes+="build clat " ;;
    bench) purposes+="build demo test bench " ;;
    lint) purposes+="build lint " ;;
    deb | deb-test) purposes+="build $purpose " ;;
    system | pi) purposes+="build $purpose " ;;
    *) purposes+="$purpose " ;;
    esac
done

missing=()
reasons=()
while IFS='|' read -r purpose probe package reason; do
    read -r purpose <<<"$purpose"
    read -r package <<<"$package"
    [ -n "$purpose" ] || continue
    [[ $purposes == *" $purpose "* ]] || continue
    read -r kind name <<<"$probe"
    if [ $list = 1 ]; then
        missing+=("$package")
    elif ! present "$kind" "$name" && [[ " ${missing[*]-} " != *" $package "* ]]; then
        missing+=("$package")
        reasons+=("$package|$reason")
    fi
done <<<"$table"

if [ $list = 1 ]; then
    printf '%s\n' "${missing[@]}" | sort -u
    exit 0
fi
[ ${#missing[@]} -gt 0 ] || exit 0

echo "Missing from this machine, for: $*"
for line in "${reasons[@]}"; do printf '  %-18s %s\n' "${line%%|*}" "${line#*|}"; done

command=(apt-get install --yes --no-install-recommends --no-remove "${missing[@]}")
if [ "${NO_INSTALL:-0}" = 1 ]; then
    echo "NO_INSTALL=1: nothing is installed. To do it by hand: sudo ${command[*]}"
    exit 69
fi
if ! command -v apt-get >/dev/null; then
    echo "This is not Debian or Raspberry Pi OS: install the equivalents of these packages, then run this again." >&2
    exit 69
fi
sudo=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Neither root nor sudo. Ask an administrator to run: ${command[*]}" >&2
        exit 69
    fi
    sudo=(sudo)
fi
sudo+=(env DEBIAN_FRONTEND=noninteractive)
echo "Installing them now (NO_INSTALL=1 would not): ${command[*]}"

# The lists of a fresh machine are missing or stale; refresh them only when they have to be.
if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
    "${sudo[@]}" apt-get update -q
fi
if ! "${sudo[@]}" "${command[@]}" -q </dev/null; then
    echo "Once more with fresh package lists"
    "${sudo[@]}" apt-get update -q
    if ! "${sudo[@]}" "${command[@]}" -q </dev/null; then
        explain_refusal
        exit 69
    fi
fi
