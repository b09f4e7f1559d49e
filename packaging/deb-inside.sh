#!/bin/bash
# deb-inside.sh FORMER VERSION: the steps of deb-test.sh that play in a bare root, with its own network. The packages are in /debs.
# systemd is not the init of a root: its folder in /run is there, so that the packages' scripts ask for starts and stops, and
# policy-rc.d keeps the list of what was asked for.
# shellcheck disable=SC2317,SC2086,SC2016,SC2046
set -uo pipefail

former=$1 version=$2
log=/tmp/asked
settings=/etc/bramblegate/bramblegate.toml
boot=/boot/firmware/bramblegate.toml
architecture=$(dpkg --print-architecture)
failed=0
export DEBIAN_FRONTEND=noninteractive

check() {
    local name=$1
    shift
    if (set -eu; "$@") >/tmp/out 2>&1; then
        echo "  ok      $name"
    else
        failed=1
        echo "  FAILED  $name"
        sed 's/^/          /' /tmp/out
    fi
}

# Fails where the command succeeds: "!" does not end a script.
no() { if "$@"; then return 1; fi; }

files_of() { echo /debs/*_"$1"_"$architecture".deb; }
all="bramblegate bramblegate-web bramblegate-snmp bramblegate-clat bramblegate-lab"

# Every file with its checksum, but for what dpkg and the system keep of any package.
everything() {
    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /debs -o -path /dev -o -path /var/lib/dpkg \
        -o -path /var/cache -o -path /var/log -o -path /var/lib/systemd/deb-systemd-helper-enabled \) -prune -o \
        \( -type f -o -type l -o -type d \) -printf '%y %m %p %l\n' | sort
}

wait_for() {
    local tries
    for tries in $(seq 100); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
    echo "waited in vain ($tries): $*"
    return 1
}

start_gateway() {
    RUNTIME_DIRECTORY=/run/bramblegate STATE_DIRECTORY=/var/lib/bramblegate bramblegate run >/tmp/run.log 2>&1 &
    gateway=$!
    wait_for bramblegate status --json || true
}

stop_gateway() {
    kill "$1" "$gateway" 2>/dev/null || true
    wait "$gateway" 2>/dev/null || true
}

install() {
    : >$log
    dpkg -i $(files_of "$former") 2>&1 | tee /tmp/said
    # There is no udevd here, as in a container: no error of it.
    no grep -i failed /tmp/said
    dpkg -s $all | grep -c '^Status: install ok installed' | grep -qx 5
    # The gateway and the page start; snmpd and the translator have to be set up first.
    grep -qx 'bramblegate.service start' $log
    grep -qx 'bramblegate-web.service start' $log
    no grep -E 'snmp|clat' $log
    [ -L /etc/systemd/system/multi-user.target.wants/bramblegate.service ]
    [ -L /etc/systemd/system/multi-user.target.wants/bramblegate-web.service ]
    [ ! -e /etc/systemd/system/multi-user.target.wants/bramblegate-snmp.service ]
}

is_there() {
    bramblegate --version
    bramblegate check -c /usr/share/doc/bramblegate/examples/bramblegate.toml
    bramblegate-web --version
    bramblegate-snmp --version
    bramblegate demo --help | grep -q -- --seconds
    bash -n /usr/share/bash-completion/completions/bramblegate
    getent passwd bramblegate
    [ -d /etc/bramblegate/bramblegate.toml.d ]
    # A conffile would ask questions at an upgrade: there is none.
    [ ! -s /var/lib/dpkg/info/bramblegate.conffiles ]
    [ ! -e $settings ]
}

units_are_right() {
    local wrong
    wrong=$(systemd-analyze verify --man=no /usr/lib/systemd/system/bramblegate*.service /usr/lib/systemd/system/bramblegate*.path 2>&1 |
        grep -F bramblegate || true)
    echo "$wrong"
    [ -z "$wrong" ]
}

network() {
    ip -o address
    ip rule
    ip route show table all
    nft list ruleset
    grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/{forwarding,arp_ignore,arp_announce,rp_filter}
}

# Without settings: the address, how it is, what to do; and not a packet of the network goes another way.
first_start() {
    ip link add eth0 type veth peer name venue
    ip link set lo up; ip link set eth0 up; ip link set venue up
    ip address add 10.99.0.126/24 dev eth0
    ip route add default via 10.99.0.1
    sleep 2 # addresses of IPv6 come by themselves
    network >/tmp/network.before
    start_gateway
    wait_for sh -c 'bramblegate status --json | grep -q 10.99.0.126'
    bramblegate status --json >/tmp/status || [ $? -le 1 ]
    grep -q '"code":"host-not-set-up"' /tmp/status
    bramblegate status | grep -q 'sudo bramblegate setup'
    sleep 1
    network >/tmp/network.now
    stop_gateway -TERM
    diff /tmp/network.before /tmp/network.now
}

# As an image has them: wrong ones are named and the head only shows, right ones are taken over once.
boot_file() {
    local code=0
    printf 'uplink.interfaces = ["eth1"]\nclsuter.interface = "eth0"\n' >$boot
    bramblegate setup --from $boot --yes --no-start >/tmp/setup 2>&1 || code=$?
    cat /tmp/setup
    [ $code = 78 ]
    grep -q "^$boot:2:1: error:" /tmp/setup
    [ ! -e $settings ]
    start_gateway
    wait_for sh -c 'bramblegate status --json | grep -q 10.99.0.126'
    bramblegate status --json >/tmp/status || [ $? -le 1 ]
    stop_gateway -TERM
    grep -q '"code":"host-boot-file"' /tmp/status
    grep -q "$boot:2:1" /tmp/status
    printf '# of the image\nuplink.interfaces = ["eth1"]\nuplink.check = false\ncluster.interface = "eth0"\n' >$boot
    # The unit's own command.
    sh -c "$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/bramblegate-setup.service)"
    cmp $boot $settings
    grep -q '^ConditionPathExists=!/etc/bramblegate/bramblegate.toml$' /usr/lib/systemd/system/bramblegate-setup.service
}

# A node and a venue, each in a network of its own, and the head between them.
wire() {
    ip link delete eth0
    ip netns add node
    ip netns add venue
    ip link add eth0 type veth peer name nic netns node
    ip link add eth1 type veth peer name nic netns venue
    ip -n node address add 192.168.50.11/24 dev nic
    ip -n node link set nic up
    ip -n node route add default via 192.168.50.1
    ip -n venue address add 10.99.0.1/24 dev nic
    ip -n venue link set nic up
    ip link set eth0 up
    ip link set eth1 up
    ip address add 10.99.0.126/24 dev eth1
    ip route add default via 10.99.0.1
}

# In the place of systemctl: what systemd does for a restart of the unit, by the commands of the unit.
stand_in_for_systemctl() {
    cat >/usr/bin/systemctl <<'END'
#!/bin/sh
main() { cat /run/bramblegate/lock; }
case "$*" in
*list-jobs*) echo "1 bramblegate.service restart running" ;;
*is-enabled*bramblegate.service*) echo enabled ;;
*restart*bramblegate.service*)
    echo "restarted" >>/tmp/asked
    old=$(main)
    MAINPID=$old /usr/lib/bramblegate/before-stop
    kill -TERM "$old"
    while kill -0 "$old" 2>/dev/null; do sleep 0.01; done
    SERVICE_RESULT=success /usr/lib/bramblegate/after-stop
    RUNTIME_DIRECTORY=/run/bramblegate STATE_DIRECTORY=/var/lib/bramblegate bramblegate run </dev/null >>/tmp/run.log 2>&1 &
    ;;
esac
END
}

# Packets of a node go to the venue while dpkg replaces the program and the service restarts: a hundred a second, none lost.
upgrade_loses_nothing() {
    wire
    cp /usr/bin/systemctl /tmp/systemctl
    cp /usr/sbin/policy-rc.d /tmp/policy-rc.d
    stand_in_for_systemctl
    printf '#!/bin/sh\necho "$1 $2" >>%s\n[ "$1" = bramblegate.service ] || exit 101\n' $log >/usr/sbin/policy-rc.d
    start_gateway
    first=$(cat /run/bramblegate/lock)
    wait_for ip netns exec node ping -c 1 -W 1 10.99.0.1
    ip netns exec node ping -q -i 0.01 -c 1500 10.99.0.1 >/tmp/pings &
    pings=$!
    sleep 1
    : >$log
    dpkg -i $(files_of "$version")
    wait_for bramblegate status --json || true
    second=$(cat /run/bramblegate/lock)
    kill -0 $pings # they went on until here
    wait $pings
    cat /tmp/pings
    cp /tmp/systemctl /usr/bin/systemctl
    cp /tmp/policy-rc.d /usr/sbin/policy-rc.d
    kill "$second" || true
    dpkg -i $(files_of "$former") >/dev/null
    grep -qx restarted $log
    [ "$first" != "$second" ]
    grep -q ' 0% packet loss' /tmp/pings
}

# One restart and no stop; settings and state as they were.
upgrade() {
    mkdir -p /var/lib/bramblegate
    echo kept >/var/lib/bramblegate/kept
    sha256sum $settings /var/lib/bramblegate/kept >/tmp/kept
    : >$log
    dpkg -i $(files_of "$version")
    cat $log
    grep -qx 'bramblegate.service restart' $log
    no grep stop $log
    sha256sum -c /tmp/kept
}

# What the older version cannot read is named, and the gateway that runs is left alone.
downgrade() {
    echo 'uplink.of_the_future = true' >>$settings
    : >$log
    dpkg -i $(files_of "$former") 2>&1 | tee /tmp/said
    cat $log
    grep -q 'does not accept the settings' /tmp/said
    grep -q "$settings:5:8: error:" /tmp/said
    grep -q "written for version $version" /tmp/said
    no grep 'bramblegate.service restart' $log
    sed -i '$d' $settings
    dpkg -i $(files_of "$version")
}

# A daemon that died has left its rules; settings and state stay.
remove() {
    start_gateway
    wait_for nft list table inet bramblegate
    stop_gateway -KILL
    nft list table inet bramblegate >/dev/null
    : >$log
    dpkg -r $all
    cat $log
    grep -qx 'bramblegate.service stop' $log
    no nft list table inet bramblegate
    ip rule >/tmp/rules
    no grep 51 /tmp/rules
    [ -e $settings ]
    [ -e /var/lib/bramblegate/kept ]
    [ ! -e /usr/bin/bramblegate ]
    [ ! -e /usr/lib/bramblegate ]
}

# What setup wrote for other programs goes too, as long as it is what it wrote.
purge() {
    local ours=/etc/systemd/network/00-eth0.network manager=/etc/NetworkManager/conf.d
    local theirs=$manager/90-eth9.conf
    mkdir -p $manager
    printf '[Match]\nName=eth0\n[Link]\nUnmanaged=yes\n' >$ours
    printf '[keyfile]\nunmanaged-devices+=interface-name:eth0\n' >$manager/90-eth0.conf
    printf '[keyfile]\nunmanaged-devices+=interface-name:eth9;interface-name:eth8\n' >$theirs
    dpkg -P $all
    rm -f $boot
    [ ! -e $ours ]
    [ ! -e $manager/90-eth0.conf ]
    rm $theirs
    rmdir $manager
    rmdir --ignore-fail-on-non-empty /etc/NetworkManager
    everything >/tmp/after
    # The user stays (Debian's policy), with what useradd keeps of the lists before.
    diff /tmp/before /tmp/after
    [ ! -e /run/bramblegate ]
    dpkg -l 'bramblegate*' >/tmp/known 2>&1 || true
    no grep -E '^(rc|ii)' /tmp/known
}

# Raspberry Pi OS calls ARMv6 armhf too.
armv6_is_refused() {
    mkdir -p /tmp/armv6/bin /tmp/armv6/control
    dpkg-deb -e "/debs/bramblegate_${version}_$architecture.deb" /tmp/armv6/control
    printf '#!/bin/sh\necho armv6l\n' >/tmp/armv6/bin/uname
    printf '#!/bin/sh\necho armhf\n' >/tmp/armv6/bin/dpkg
    chmod +x /tmp/armv6/bin/*
    no env PATH=/tmp/armv6/bin:$PATH /tmp/armv6/control/preinst install 2>/tmp/armv6/said
    grep -q 'ARMv6' /tmp/armv6/said
    grep -q 'make release && sudo make install' /tmp/armv6/said
    printf '#!/bin/sh\necho armv7l\n' >/tmp/armv6/bin/uname
    PATH=/tmp/armv6/bin:$PATH /tmp/armv6/control/preinst install
}

mkdir -p /run/systemd/system
printf '#!/bin/sh\necho "$1 $2" >>%s\nexit 101\n' $log >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
everything >/tmp/before
check "ARMv6 is refused in words" armv6_is_refused
check "installed" install
check "programs, example, user and folders are there" is_there
check "systemd-analyze verify" units_are_right
check "a first start only shows" first_start
check "settings on the boot partition" boot_file
check "an upgrade under way: no packet of a node is lost" upgrade_loses_nothing
check "an upgrade restarts and does not stop" upgrade
check "a downgrade says what it cannot read" downgrade
check "removed: nothing runs, nothing is left in the kernel" remove
check "purged: nothing is left" purge
exit $failed
