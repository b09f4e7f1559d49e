# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317,SC2329
# A stranger who has README, the guide, two machines and a keyboard. What is typed on the head are the commands of these pages.

keyboard=/run/keyboard
typescript=/run/typescript
prompt='head:~# '
disk_of_guide=1b0ee95f-5d43-4c2a-9d0f-5b8a5a2d7c11

# A venue with internet, as far as the gateway asks: the host of its probe answers with 204. Usage: venue_has_internet COMMAND...: the
# command has the venue serve addresses and names
venue_has_internet() {
    venue ip address add 203.0.113.204/32 dev lo
    printf 'HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n' >/run/no-content
    # It serves one connection at a time, and would wait for ever for the end of one whose client has been restarted.
    run_in_venue probe bash -c 'while true; do timeout 5 nc -N -l 203.0.113.204 80 </run/no-content; done'
    "$@" --address=/connectivitycheck.gstatic.com/203.0.113.204
}

has_interface() { [ -e /sys/class/net/eth0 ]; }

# The image has more than a fresh Debian: with snmpd there would be a fourth question.
need_fresh_machine() {
    wait_for 60 "an interface" has_interface
    dpkg --purge snmpd
    venue_has_internet venue_leases
}

# usage: block FILE TEXT: of a page, the commands (or settings) between fences in which there is TEXT
block() {
    awk -v text="$2" '/^```/ { if (inside && index(held, text)) { printf "%s", held; found = 1; exit }; inside = !inside; held = ""; next }
        inside { held = held $0 "\n" } END { exit !found }' "$here/tree/$1"
}

# A shell on a terminal of its own, which script(1) records with its times. The image has no sudo: the person is root already.
open_terminal() {
    mkdir -p /root/bramblegate/target
    ln -sfn "$here/debs" /root/bramblegate/target/debian
    printf 'PS1=%q\nsudo() { "$@"; }\ncd\n' "$prompt" >/run/terminal.rc
    mkfifo "$keyboard"
    systemd-run --quiet --unit=terminal --setenv=TERM=dumb --setenv=HOME=/root \
        bash -c "exec script -q -f -O $typescript -T $typescript.times -c 'bash --noediting --rcfile /run/terminal.rc -i' <>$keyboard >/dev/null"
    wait_for 30 "a prompt" seen_more_than 0 "$prompt"
}

times_seen() { grep -aoF -- "$1" "$typescript" | wc -l; }

# What stood on the screen last, of a step that fails.
screen() { tail -n 25 "$typescript" | tr -d '\r'; }

# usage: keys TEXT: four keys a second, and Enter
keys() {
    local i
    for ((i = 0; i < ${#1}; i++)); do
        printf %s "${1:i:1}" >"$keyboard"
        sleep 0.25
    done
    echo >"$keyboard"
}

# usage: paste COMMAND: a line that is copied from a page, until it asks or ends
paste() {
    echo "$1" >"$keyboard"
}

# usage: carry_out COMMAND: pastes it and waits for its end, which has to be a good one
carry_out() {
    local prompts codes
    prompts=$(times_seen "$prompt") codes=$(times_seen "code 0 of it")
    paste "$1"
    wait_for 120 "the end of: $1" seen_more_than "$prompts" "$prompt"
    # In quotes that the shell takes away: the echo of the line is another text.
    paste 'echo code $? "of it"'
    wait_for 20 "the prompt again" seen_more_than $((prompts + 1)) "$prompt"
    seen_more_than "$codes" "code 0 of it" || fail "$1"
}

seen_more_than() { [ "$(times_seen "$2")" -gt "$1" ]; }

# usage: answer QUESTION ANSWER: reads it for two seconds, as it is not seen for the first time
answer() {
    wait_for 60 "the question: $1" seen_more_than 0 "$1"
    sleep 2
    keys "$2"
}

address_on_glass() {
    [ -n "$(lease)" ] && row_is 0 "$(lease)"
}

# Both from Enter after `apt install`: what a person sees first, and when all of it is set up.
stranger_installs() {
    trap screen EXIT
    local line prompts began first took
    open_terminal
    [ ! -e "$settings" ] || fail "there are settings already"
    carry_out "cd bramblegate"
    began=$(date +%s%N)
    prompts=$(times_seen "$prompt")
    line=$(block README.md "sudo bramblegate setup" | grep "apt install")
    paste "$line"
    wait_for 120 "the address on the glass" address_on_glass
    first=$((($(date +%s%N) - began) / 1000000))
    wait_for 120 "apt is done" seen_more_than "$prompts" "$prompt"
    wait_for 30 "what to do next, on the glass" row_begins 1 "RUN SETUP"
    paste "$(block README.md "sudo bramblegate setup" | grep -x "sudo bramblegate setup")"
    answer "Which interface leads to the nodes?" eth0
    answer "lead to the venue" eth1
    answer "Give the nodes addresses and names from here (DHCP)?" yes
    wait_for 120 "setup is done" seen_more_than $((prompts + 1)) "$prompt"
    wait_for 60 "the address on the glass" address_on_glass
    wait_for 60 "set up" has_no_alert host-not-set-up
    took=$((($(date +%s%N) - began) / 1000000))
    cat "$settings"
    expect "questions" 3 "$(times_seen "? [")"
    echo "from Enter to the address on the glass: $first ms; to the end of setup, with three answers: $took ms"
    # The aim is a minute, on a real machine. Emulated it took 36 s, and 80 s on a host that also built.
    [ "$first" -le 120000 ] || fail "no address within two minutes"
    [ "$took" -le 240000 ] || fail "not set up within four minutes"
}

stranger_sees_all_is_well() {
    trap screen EXIT
    wait_for 60 "the node is up" health_is rpi1 up
    wait_for 60 "green" stick_is_green
    carry_out "sudo bramblegate doctor"
    carry_out "bramblegate nodes"
}

# docs/guide/shared-disk.md, word by word, but for the UUID of its example.
stranger_shares_disk() {
    trap screen EXIT
    local uuid line
    uuid=$(blkid -s UUID -o value /dev/vdc)
    while read -r line <&3; do carry_out "${line/$disk_of_guide/$uuid}"; done 3< <(block docs/guide/shared-disk.md "UUID=")
    carry_out "$(grep -o 'sudo install -d [^`]*' "$here/tree/docs/guide/shared-disk.md")"
    block docs/guide/shared-disk.md "[[share]]" | sed -n '/^\[\[share/,$p' | tee -a "$settings"
    carry_out "bramblegate check"
    carry_out "sudo systemctl reload bramblegate"
    # The other machine has had its line in fstab from its start.
    wait_for 180 "a file of the node on the disk" test -s /mnt/usb/common/note
    expect "what it says, and whose it is" "from rpi1 1000" "$(cat /mnt/usb/common/note) $(stat -c %u /mnt/usb/common/note)"
    wait_for 60 "the node, by the status" share_is "clients[0]" rpi1
}

# docs/guide/packing-up.md. The line for the node goes by the shared disk, as a person might take it there.
stranger_makes_key() {
    local line
    trap screen EXIT
    carry_out "$(block docs/guide/packing-up.md "sudo ssh-keygen -t")"
    carry_out "$(block docs/guide/packing-up.md "sudo cat") | tee /mnt/usb/common/line"
    # As with an editor.
    line=$(block docs/guide/packing-up.md "[shutdown]" | grep -m 1 "^key = ")
    grep -qxF "#$line" "$settings" || fail "the settings have no such line"
    sed -i "s|^#$line\$|$line|" "$settings"
    carry_out "bramblegate check"
    carry_out "sudo systemctl reload bramblegate"
    wait_for 120 "the node has the line" test -e /mnt/usb/common/key-taken
}

stranger_packs_up() {
    trap screen EXIT
    cp "$typescript" /run/typescript.so-far
    usbsim lcd watch /dev/ttyS1 >/dev/null
    paste "$(block docs/guide/packing-up.md "sudo bramblegate shutdown --all" | sed -n 's/^\(sudo bramblegate shutdown --all\) .*/\1/p')"
    answer "then this machine? [no]" yes
    wait_for 180 "systemd powers off" powering_off
}

# The node. It is on before the head has anything to offer.
node_asks_for_address() {
    hostname rpi1
    wait_for 60 "an interface" has_interface
    ip link set eth0 up
    systemd-run --quiet --unit=lease busybox udhcpc -f -i eth0 -T 2 -A 3 -x hostname:rpi1 -s "$here/guest/udhcpc.sh"
    mkdir -p /etc/dropbear
    systemd-run --quiet --unit=ssh-server dropbear -F -R -s
}

node_has_line_in_fstab() {
    local line
    block docs/guide/shared-disk.md "x-systemd.automount" | sed 's/^rack:/head:/' >>/etc/fstab
    sudo() { "$@"; }
    while read -r line <&3; do eval "$line"; done 3< <(block docs/guide/shared-disk.md "nfs-common")
    [ "$(systemctl is-active mnt-usb.automount)" = active ] || fail "no automount"
}

node_writes() {
    [ -z "$(node_lease)" ] || fail "there is a lease already: the head did not come late"
    # Waits in the folder for the head, and for what the person has to do there.
    until setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'echo from rpi1 >/mnt/usb/common/note'; do sleep 1; done
    findmnt -t nfs4 -no SOURCE,TARGET,OPTIONS
    expect "the head's address" 192.168.50.1 "$(getent ahostsv4 head | awk 'NR == 1 { print $1 }')"
}
node_lease() { ip -4 -json address show dev eth0 | jq -r '.[].addr_info[]? | select(.scope == "global") | .local'; }

node_takes_key() {
    local line commands
    wait_for 300 "the line" test -s /mnt/usb/common/line
    line=$(cat /mnt/usb/common/line)
    sudo() { "$@"; }
    commands=$(block docs/guide/packing-up.md "'LINE'")
    eval "${commands/LINE/$line}"
    setpriv --reuid 1000 --regid 1000 --clear-groups touch /mnt/usb/common/key-taken
}
