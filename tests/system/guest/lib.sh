# shellcheck shell=bash
# Helpers of the scenario. Sourced by main.sh and used by the steps.
# shellcheck disable=SC2034,SC2154  # shared between files that are sourced together

here=/run/scenario
hub=/run/usbsim.sock
settings=/etc/bramblegate/bramblegate.toml
# Options of systemd-run for what the world consists of.
background=()

usbsim() { "$here/bin/usbsim" ask "$hub" "$@"; }
lcd() { usbsim lcd | jq -r "$1"; }
stick() { usbsim stick | jq -r "$1"; }
status() { bramblegate status --json | jq -r "$1"; }
main_pid() { systemctl show -P MainPID bramblegate.service; }
property() { systemctl show -P "$1" bramblegate.service; }
venue() { ip netns exec venue "$@"; }
node() { ip netns exec node "$@"; }
worker() { ip netns exec worker "$@"; }
lease() { ip -4 -json address show dev eth1 2>/dev/null | jq -r '.[].addr_info[]? | select(.scope == "global") | .local'; }

fail() {
    echo "failed: $*"
    return 1
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || fail "not within the time: $what" || return 1
        sleep 0.2
    done
}

# expect WHAT WANTED GOT
expect() {
    [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"
}

row_is() { [ "$(lcd ".rows[$1]" | sed 's/ *$//')" = "$2" ]; }
row_begins() { [[ "$(lcd ".rows[$1]")" == "$2"* ]]; }
has_alert() { [ "$(status "any(.alerts[]; .code == \"$1\")")" = true ]; }
has_no_alert() { [ "$(status "any(.alerts[]; .code == \"$1\")")" = false ]; }
is_active() { [ "$(property ActiveState)" = active ]; }
node_reaches() { [ "$(node timeout 3 busybox wget -q -O - http://203.0.113.80/ok)" = online ]; }

passed=0
failed=0

# step NAME FUNCTION: runs the function with errexit in a process of its own, prints PASS or FAIL, and its output: on a
# failure for everybody, else for who keeps the logs.
step() {
    local name=$1 function=$2 began=$SECONDS said
    if [ -s "$here/steps" ] && grep -q . "$here/steps" && ! grep -qx "$function" "$here/steps" && [[ $function != need_* ]]; then
        return
    fi
    # Not "if ( set -e ... )": errexit is ignored inside a condition.
    set +e
    said=$(bash -c 'set -eu; for file in "$0"/guest/lib.sh "$0"/guest/steps/*.sh; do . "$file"; done; '"$function" "$here" 2>&1)
    local code=$?
    if [ $code = 0 ]; then
        passed=$((passed + 1))
        echo "PASS  $name ($((SECONDS - began)) s)"
        [ -z "$said" ] || printf '%s\n' "$said" | sed 's/^/=== said: /'
    else
        failed=$((failed + 1))
        echo "FAIL  $name ($((SECONDS - began)) s)"
        printf '%s\n' "$said" | tail -n 30 | sed 's/^/      /'
        picture 2>&1 | sed 's/^/      | /'
    fi
}

# What the machine looked like when a step failed.
picture() {
    echo "unit: $(property ActiveState)/$(property SubState) result $(property Result) restarts $(property NRestarts)"
    echo "lcd:  $(usbsim lcd)"
    echo "led:  $(usbsim stick)"
    ip -br address
    # Without the printed rule sets, which are of debug priority.
    journalctl -u bramblegate -p info -n 40 -o short-monotonic --no-pager
}
