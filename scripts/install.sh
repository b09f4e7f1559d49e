#!/bin/bash
# install.sh install|uninstall BINARY DESTDIR PREFIX SYSLIB: called by make. With an empty DESTDIR it also tells the running
# system about the new units, users and rules; it starts nothing.
set -euo pipefail
umask 022

verb=$1 binary=$2 destdir=$3 prefix=$4 syslib=$5
top=$(cd "$(dirname "$0")/.." && pwd)
program=$prefix/bin/bramblegate
helpers=$syslib/bramblegate

# source | destination | mode; the order in which they are placed
plan() {
    echo "$binary|$program|755"
    # The demo: a program of its own, so that the one with rights holds no test servers.
    echo "$(dirname "$binary")/bramblegate-lab|$helpers/bramblegate-lab|755"
    # The status page and the agent for SNMP: processes of their own without rights.
    echo "$(dirname "$binary")/bramblegate-web|$prefix/bin/bramblegate-web|755"
    echo "$(dirname "$binary")/bramblegate-snmp|$prefix/bin/bramblegate-snmp|755"
    echo "$top/systemd/bramblegate-web.service|$syslib/systemd/system/bramblegate-web.service|644"
    echo "$top/systemd/bramblegate-snmp.service|$syslib/systemd/system/bramblegate-snmp.service|644"
    echo "$top/systemd/announce-web|$helpers/announce-web|755"
    echo "$top/systemd/bramblegate.avahi|$helpers/web.avahi|644"
    echo "$top/systemd/bramblegate.service|$syslib/systemd/system/bramblegate.service|644"
    echo "$top/systemd/bramblegate-poweroff.path|$syslib/systemd/system/bramblegate-poweroff.path|644"
    echo "$top/systemd/bramblegate-poweroff.service|$syslib/systemd/system/bramblegate-poweroff.service|644"
    echo "$top/systemd/bramblegate-share.path|$syslib/systemd/system/bramblegate-share.path|644"
    echo "$top/systemd/bramblegate-share.service|$syslib/systemd/system/bramblegate-share.service|644"
    echo "$top/systemd/bramblegate.sysusers|$syslib/sysusers.d/bramblegate.conf|644"
    echo "$top/systemd/bramblegate.tmpfiles|$syslib/tmpfiles.d/bramblegate.conf|644"
    echo "$top/systemd/bramblegate.modules-load|$syslib/modules-load.d/bramblegate.conf|644"
    echo "$top/systemd/arm-power-button|$helpers/arm-power-button|755"
    echo "$top/systemd/before-stop|$helpers/before-stop|755"
    echo "$top/systemd/after-stop|$helpers/after-stop|755"
    echo "$top/systemd/system-shutdown|$syslib/systemd/system-shutdown/bramblegate|755"
    echo "$top/systemd/bramblegate.catalog|$syslib/systemd/catalog/bramblegate.catalog|644"
    echo "$top/udev/60-bramblegate.rules|$syslib/udev/rules.d/60-bramblegate.rules|644"
    # net-snmp looks for MIBs there, whatever the prefix.
    echo "$(dirname "$binary")/bramblegate-snmp|$prefix/bin/bramblegate-snmp|755"
    echo "$top/systemd/bramblegate-snmp.service|$syslib/systemd/system/bramblegate-snmp.service|644"
    echo "$top/docs/observability/BRAMBLEGATE-MIB.txt|$(dirname "$syslib")/share/snmp/mibs/BRAMBLEGATE-MIB.txt|644"
    local page file
    for page in "$top"/docs/man/*.[1-8]; do
        echo "$page|$prefix/share/man/man${page##*.}/$(basename "$page")|644"
    done
    for file in "$top"/README.md "$top"/CHANGELOG.md "$top"/SECURITY.md "$top"/LICENSE-* "$top"/docs/status.schema.json; do
        echo "$file|$prefix/share/doc/bramblegate/$(basename "$file")|644"
    done
    for file in "$top"/docs/guide/*.md; do
        echo "$file|$prefix/share/doc/bramblegate/docs/guide/$(basename "$file")|644"
    done
    # They are built in; these are for reading, and for writing one of your own.
    for file in "$top"/boards/*.toml; do
        echo "$file|$prefix/share/doc/bramblegate/boards/$(basename "$file")|644"
    done
}

# shell | where it looks for completions below its prefix
completions() {
    echo "bash|$prefix/share/bash-completion/completions/bramblegate"
    # zsh of Debian looks below /usr/share in the one, below /usr/local/share in the other.
    if [ "$prefix" = /usr ]; then
        echo "zsh|$prefix/share/zsh/vendor-completions/_bramblegate"
    else
        echo "zsh|$prefix/share/zsh/site-functions/_bramblegate"
    fi
    echo "fish|$prefix/share/fish/vendor_completions.d/bramblegate.fish"
}

# The program writes them itself. One that was built for another machine cannot: that is no reason not to install it.
place_completions() {
    local shell destination
    while IFS='|' read -r shell destination; do
        install -d "$(dirname "$destdir$destination")"
        if "$binary" completions "$shell" >"$destdir$destination.new" 2>/dev/null; then
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
    */systemd/bramblegate*.service | */systemd/announce-web | */systemd/after-stop | */systemd/system-shutdown)
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
    udevadm control --reload
    udevadm trigger --settle --action=add \
        --subsystem-match=hidraw --subsystem-match=i2c-dev --subsystem-match=gpio --subsystem-match=leds
    journalctl --update-catalog
}

case $verb in
install)
    # The user first: udev reads group names when it reads its rules, and only then.
    place "$top/systemd/bramblegate.sysusers" "$syslib/sysusers.d/bramblegate.conf" 644
    if booted; then systemd-sysusers "$syslib/sysusers.d/bramblegate.conf"; fi
    while IFS='|' read -r source destination mode; do
        # Built in stages: a page or list that this tree does not have is not an error, and is reported.
        if [ -e "$source" ]; then place "$source" "$destination" "$mode"; else echo "not in this tree: $source"; fi
    done < <(plan)
    place_completions
    if booted; then
        systemd-tmpfiles --create "$syslib/tmpfiles.d/bramblegate.conf"
        systemctl restart systemd-modules-load.service || echo "some kernel modules did not load; bramblegate doctor explains what that means"
        refresh
        if systemctl --quiet is-active bramblegate.service; then
            echo "Installed. Running: sudo systemctl restart bramblegate"
            echo "The status page: sudo systemctl enable --now bramblegate-web"
        else
            echo "Installed. Next: sudo $program setup"
        fi
    fi
    ;;
uninstall)
    if booted; then
        systemctl disable --now bramblegate-web.service bramblegate-snmp.service 2>/dev/null || true
        systemctl disable --now bramblegate.service 2>/dev/null || true
        [ ! -x "$program" ] || "$program" off || true
    fi
    while IFS='|' read -r _ destination _; do rm -f "$destdir$destination"; done < <(plan; completions)
    for directory in "$helpers" "$prefix/share/doc/bramblegate/boards" \
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
