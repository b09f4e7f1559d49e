#!/bin/bash
# install.sh install|uninstall BINARY DESTDIR PREFIX SYSLIB: called by make. With an empty DESTDIR it also has the running
# system load the new units, users and rules; it starts nothing. PACKAGE=NAME takes only what that Debian package has.
set -euo pipefail
umask 022

verb=$1 binary=$2 destdir=$3 prefix=$4 syslib=$5
top=$(cd "$(dirname "$0")/.." && pwd)
program=$prefix/bin/bramblegate
# shellcheck disable=SC2034  # files.sh uses it
built=$(dirname "$binary")
helpers=$syslib/bramblegate

# shellcheck source=packaging/files.sh
. "$top/packaging/files.sh"

# source | destination | mode of what is wanted: all, or one package's
plan() {
    files | while IFS='|' read -r package source destination mode; do
        [ "${PACKAGE:-$package}" != "$package" ] || echo "$source|$destination|$mode"
    done
}

# The program writes them itself. One that was built for another machine cannot: that is no reason not to install it. RUNNABLE
# names the same program for this machine.
place_completions() {
    local shell destination
    [ "${PACKAGE:-bramblegate}" = bramblegate ] || return 0
    while IFS='|' read -r shell destination; do
        install -d "$(dirname "$destdir$destination")"
        if "${RUNNABLE:-$binary}" completions "$shell" >"$destdir$destination.new" 2>/dev/null; then
            chmod 644 "$destdir$destination.new"
            mv -f "$destdir$destination.new" "$destdir$destination"
        else
            rm -f "$destdir$destination.new"
            echo "no completions for $shell: $binary does not run on this machine"
        fi
    done < <(completions)
}

# Units and hooks name the program by its full path.
place() {
    local source=$1 destination=$destdir$2 mode=$3
    install -d "$(dirname "$destination")"
    case $source in
    */systemd/bramblegate*.service | */systemd/bramblegate*.path | */systemd/announce-web | */systemd/arm-power-button | */systemd/after-stop | */systemd/system-shutdown)
        sed -e "s|/usr/bin/bramblegate|$program|g" -e "s|/usr/lib/bramblegate/|$helpers/|g" "$source" >"$destination.new"
        chmod "$mode" "$destination.new"
        mv -f "$destination.new" "$destination"
        ;;
    *) install -m "$mode" "$source" "$destination" ;;
    esac
}

booted() { [ -z "$destdir" ] && [ -d /run/systemd/system ]; }

refresh() {
    booted || return 0
    systemctl daemon-reload
    # A container has systemd and no udev.
    if [ -e /run/udev/control ]; then
        udevadm control --reload
        udevadm trigger --settle --action=add \
            --subsystem-match=hidraw --subsystem-match=i2c-dev --subsystem-match=gpio --subsystem-match=leds
    fi
    journalctl --update-catalog
}

case $verb in
install)
    # The user first: udev reads group names when it reads its rules, and only then.
    if booted; then
        place "$top/systemd/bramblegate.sysusers" "$syslib/sysusers.d/bramblegate.conf" 644
        systemd-sysusers "$syslib/sysusers.d/bramblegate.conf"
    fi
    while IFS='|' read -r source destination mode; do
        # Built in stages: a page or list that this tree does not have is not an error, and is reported.
        if [ -e "$source" ]; then place "$source" "$destination" "$mode"; else echo "not in this tree: $source"; fi
    done < <(plan)
    place_completions
    if booted; then
        systemd-tmpfiles --create "$syslib/tmpfiles.d/bramblegate.conf"
        systemctl restart systemd-modules-load.service || echo "some kernel modules did not load; bramblegate doctor explains what that means"
        refresh
        old=()
        for service in bramblegate bramblegate-web bramblegate-snmp; do
            if systemctl --quiet is-active "$service.service"; then old+=("$service"); fi
        done
        if [ ${#old[@]} -gt 0 ]; then
            echo "Installed. Next, to run this version: sudo systemctl restart ${old[*]}"
        else
            echo "Installed. Next: sudo $program setup"
        fi
    fi
    ;;
uninstall)
    if booted; then
        systemctl disable --now bramblegate-web.service bramblegate-snmp.service bramblegate-clat.service 2>/dev/null || true
        systemctl disable --now bramblegate.service 2>/dev/null || true
        [ ! -x "$program" ] || "$program" off || true
    fi
    while IFS='|' read -r _ destination _; do rm -f "$destdir$destination"; done < <(plan; completions)
    for directory in "$helpers" "$prefix/share/doc/bramblegate/boards" "$prefix/share/doc/bramblegate/examples" \
        "$prefix/share/doc/bramblegate/docs/guide" "$prefix/share/doc/bramblegate/docs" "$prefix/share/doc/bramblegate"; do
        rmdir --ignore-fail-on-non-empty "$destdir$directory" 2>/dev/null || true
    done
    refresh
    [ -n "$destdir" ] || echo "Removed. /etc/bramblegate and /var/lib/bramblegate stay; delete them by hand if you are sure."
    ;;
*)
    sed -n '2,3s/^# //p' "$0" >&2
    exit 64
    ;;
esac
