# shellcheck shell=bash
# files.sh: the one list of what is installed, for `make install` (scripts/install.sh) and for the Debian packages
# (packaging/deb.sh). It is sourced, with these set: top, the source tree; built, the folder of the programs; prefix, program,
# helpers and syslib, where things go.
# shellcheck disable=SC2154

# package | source | destination | mode; the order in which they are placed. Of package "-" is what only `make install` has.
files() {
    local page file
    echo "bramblegate|$built/bramblegate|$program|755"
    # The demo: a program of its own, so that the one with rights holds no test servers.
    echo "bramblegate-lab|$built/bramblegate-lab|$helpers/bramblegate-lab|755"
    # The status page, the agent for SNMP and the translator: processes of their own.
    echo "bramblegate-web|$built/bramblegate-web|$prefix/bin/bramblegate-web|755"
    echo "bramblegate-snmp|$built/bramblegate-snmp|$prefix/bin/bramblegate-snmp|755"
    echo "bramblegate-clat|$built/bramblegate-clat|$prefix/bin/bramblegate-clat|755"
    echo "bramblegate-web|$top/systemd/bramblegate-web.service|$syslib/systemd/system/bramblegate-web.service|644"
    echo "bramblegate-snmp|$top/systemd/bramblegate-snmp.service|$syslib/systemd/system/bramblegate-snmp.service|644"
    # Its units, as soon as this tree has some.
    for file in "$top"/systemd/bramblegate-clat*; do
        [ ! -e "$file" ] || echo "bramblegate-clat|$file|$syslib/systemd/system/$(basename "$file")|644"
    done
    echo "bramblegate-web|$top/systemd/announce-web|$helpers/announce-web|755"
    echo "bramblegate-web|$top/systemd/bramblegate.avahi|$helpers/web.avahi|644"
    for file in bramblegate.service bramblegate-setup.service bramblegate-poweroff.path bramblegate-poweroff.service bramblegate-share.path bramblegate-share.service; do
        echo "bramblegate|$top/systemd/$file|$syslib/systemd/system/$file|644"
    done
    echo "bramblegate|$top/systemd/bramblegate.sysusers|$syslib/sysusers.d/bramblegate.conf|644"
    echo "bramblegate|$top/systemd/bramblegate.tmpfiles|$syslib/tmpfiles.d/bramblegate.conf|644"
    echo "bramblegate|$top/systemd/bramblegate.modules-load|$syslib/modules-load.d/bramblegate.conf|644"
    for file in arm-power-button before-stop after-stop; do
        echo "bramblegate|$top/systemd/$file|$helpers/$file|755"
    done
    echo "bramblegate|$top/systemd/bramblegate-generator|$syslib/systemd/system-generators/bramblegate-generator|755"
    echo "bramblegate|$top/systemd/system-shutdown|$syslib/systemd/system-shutdown/bramblegate|755"
    echo "bramblegate|$top/systemd/bramblegate.catalog|$syslib/systemd/catalog/bramblegate.catalog|644"
    echo "bramblegate|$top/udev/60-bramblegate.rules|$syslib/udev/rules.d/60-bramblegate.rules|644"
    # net-snmp looks for MIBs there, whatever the prefix.
    echo "bramblegate-snmp|$top/docs/observability/BRAMBLEGATE-MIB.txt|$(dirname "$syslib")/share/snmp/mibs/BRAMBLEGATE-MIB.txt|644"
    for page in "$top"/docs/man/*.[1-8]; do
        echo "$(package_of "$page")|$page|$prefix/share/man/man${page##*.}/$(basename "$page")|644"
    done
    for file in "$top"/README.md "$top"/CHANGELOG.md "$top"/SECURITY.md "$top"/docs/status.schema.json; do
        echo "bramblegate|$file|$prefix/share/doc/bramblegate/$(basename "$file")|644"
    done
    # A package has them in its copyright file.
    for file in "$top"/LICENSE-*; do
        echo "-|$file|$prefix/share/doc/bramblegate/$(basename "$file")|644"
    done
    for file in "$top"/docs/guide/*.md; do
        echo "bramblegate|$file|$prefix/share/doc/bramblegate/docs/guide/$(basename "$file")|644"
    done
    # Settings with every key, to read and to copy.
    echo "bramblegate|$top/packaging/bramblegate.toml|$prefix/share/doc/bramblegate/examples/bramblegate.toml|644"
    # They are built in; these are for reading, and for writing one of your own.
    for file in "$top"/boards/*.toml; do
        echo "bramblegate|$file|$prefix/share/doc/bramblegate/boards/$(basename "$file")|644"
    done
}

# Prints the package whose program a manual page is about: bramblegate-web.8 is of bramblegate-web, bramblegate.toml.5 is not.
package_of() {
    case $(basename "$1") in
    bramblegate-web.* | bramblegate-snmp.* | bramblegate-clat.*) basename "${1%.*}" ;;
    *) echo bramblegate ;;
    esac
}

# shell | where it looks for completions below its prefix; all are of the package bramblegate
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
