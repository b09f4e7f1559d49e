//! Every command that a text of the program prints has a test that runs it, or that checks it with
//! the real tool. The commands are extracted from the sources: a new one without a row here fails,
//! and so does a row without a command.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "common/source.rs"]
mod source;

use source::{literals, product_code, product_files, without_values};

/// The folders whose texts users read.
const PRINTED_BY: [&str; 6] = [
    "src",
    "crates/files/src",
    "crates/core/src",
    "crates/daemon/src",
    "crates/config/src",
    "crates/panel/src",
];

/// The commands as in the source, without `sudo`, each `{…}` as `{}`; and the test, as a file and a
/// function in it.
const TRIED: &[(&str, &str, &str)] = &[
    (
        r"printf 'network: {}\n' | tee /etc/cloud/cloud.cfg.d/99-bramblegate.cfg",
        "tests/kernel/doctor.rs",
        "every_remedy_helps",
    ),
    (
        r"mkdir -p /etc/systemd/journald.conf.d && printf '[Journal]\nStorage=volatile\n' | tee /etc/systemd/journald.conf.d/90-volatile.conf && systemctl restart systemd-journald",
        "tests/kernel/doctor.rs",
        "every_remedy_helps",
    ),
    (
        r"echo {} | tee /sys/bus/i2c/drivers/{}/unbind",
        "tests/kernel/doctor.rs",
        "every_remedy_helps",
    ),
    (r"echo {} | tee {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (r"dhcpcd {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (r"kill {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (r"chmod -R o+rX {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (r"chmod o+rx {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (r"mkdir -p {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (
        r"sysctl -w net.ipv4.neigh.default.gc_thresh3={}",
        "tests/kernel/doctor.rs",
        "every_remedy_helps",
    ),
    (
        r"sysctl -w net.netfilter.nf_conntrack_max={}",
        "tests/kernel/doctor.rs",
        "every_remedy_helps",
    ),
    (r"systemctl disable --now {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (r"ip link set {} up", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (
        r"ip addr del {}/32 dev {}",
        "tests/netns/stories/venue.rs",
        "translator_that_is_left_over_is_put_right",
    ),
    (r"{} -t nat {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (r"apt install dnsmasq-base", "tests/clients/cases.rs", "packages"),
    (
        r"apt update && apt install --only-upgrade dnsmasq-base && systemctl restart bramblegate",
        "tests/clients/cases.rs",
        "packages",
    ),
    (
        r"{}printf '{}local stratum 10\n' | tee /etc/chrony/conf.d/bramblegate.conf && systemctl restart chrony",
        "tests/clients/cases.rs",
        "time",
    ),
    (
        r"echo '{}' | tee -a /etc/chrony/conf.d/bramblegate.conf && systemctl restart chrony",
        "tests/clients/cases.rs",
        "time",
    ),
    (r"apt install chrony &&", "tests/clients/cases.rs", "forms"),
    (r"apt install dhcpcd", "tests/clients/cases.rs", "forms"),
    (r"apt install network-manager", "tests/clients/cases.rs", "forms"),
    (
        r"tee -a {} > /dev/null && wpa_cli -i {} reconfigure",
        "tests/verbs/wifi.rs",
        "the_printed_command_makes_the_network_known_to_wpa_supplicant",
    ),
    (
        r"wpa_cli -i {} reconfigure",
        "tests/verbs/wifi.rs",
        "the_printed_command_makes_the_network_known_to_wpa_supplicant",
    ),
    (r"systemctl enable dhcpcd", "tests/clients/cases.rs", "forms"),
    (r"rfkill unblock wifi", "tests/clients/cases.rs", "forms"),
    (r"iotop -o", "tests/clients/cases.rs", "forms"),
    (r"du -xh / | sort -h | tail", "tests/clients/cases.rs", "forms"),
    (r"du -xh {} | sort -h | tail", "tests/system/guest/steps/70-shares.sh", "share_is_full"),
    (r"umount -l {} && mount {}", "tests/netns/stories/share.rs", "disk_comes_fills_and_is_pulled"),
    (r"mount {}", "tests/system/guest/steps/70-shares.sh", "share_is_exported"),
    (
        r"systemctl restart nfs-server",
        "tests/system/guest/steps/70-shares.sh",
        "share_not_exported",
    ),
    (
        r"systemctl start bramblegate-share",
        "tests/system/guest/steps/70-shares.sh",
        "share_not_exported",
    ),
    (r"du --inodes -x / | sort -n | tail", "tests/clients/cases.rs", "forms"),
    (r"dhcpcd -n {}", "tests/clients/cases.rs", "two_clients"),
    (r"networkctl reconfigure {}", "tests/clients/cases.rs", "two_clients"),
    (r"nmcli device connect {}", "tests/clients/cases.rs", "two_clients"),
    (r"{} && {}", "tests/clients/cases.rs", "two_clients"),
    (
        r"tee -a /etc/dhcpcd.conf && systemctl restart dhcpcd",
        "tests/clients/cases.rs",
        "cluster_port",
    ),
    (
        r"tee /etc/NetworkManager/conf.d/90-{}.conf && nmcli general reload",
        "tests/clients/cases.rs",
        "cluster_port",
    ),
    (
        r"tee /etc/systemd/network/00-{}.network && networkctl reload",
        "tests/clients/cases.rs",
        "cluster_port",
    ),
    (r"networkctl up {}", "tests/clients/cases.rs", "switched_off"),
    (r"netplan set {}=null && netplan apply", "tests/clients/cases.rs", "netplan"),
    (
        r"sed -i 's/^[ \t]*iface {} inet .*/iface {} inet manual/' {}",
        "tests/clients/cases.rs",
        "ifupdown",
    ),
    (r"udhcpc -b -i {}", "tests/clients/cases.rs", "no_client_but_udhcpc"),
    (r"nmcli device set {} managed yes", "tests/clients/cases.rs", "wifi"),
    (
        r"nmcli device set {} managed yes && nmcli device connect {}",
        "tests/clients/cases.rs",
        "no_client",
    ),
    (
        r"printf '[Match]\nName={}\n[Network]\nDHCP=yes\n' | tee /etc/systemd/network/00-{}.network && networkctl reload && networkctl reconfigure {}{}",
        "tests/system/guest/steps/75-managers.sh",
        "remedy_networkd_uplink",
    ),
    (
        r"systemctl enable systemd-networkd",
        "tests/system/guest/steps/75-managers.sh",
        "remedy_networkd_uplink",
    ),
    (
        r"printf '[keyfile]\nunmanaged-devices-=interface-name:{}\n' | tee /etc/NetworkManager/conf.d/90-{}.conf && nmcli general reload && {}",
        "tests/system/guest/steps/75-managers.sh",
        "remedy_network_manager_uplink",
    ),
    (
        r"nmcli connection modify '{}' ipv4.dhcp-ipv6-only-preferred no && nmcli device reapply {}",
        "tests/clients/cases.rs",
        "option_108_without_ipv6",
    ),
    (
        r"sed -i '/^ *option .*ipv6_only_preferred/d' /etc/dhcpcd.conf && systemctl restart dhcpcd",
        "tests/clients/cases.rs",
        "option_108_without_ipv6",
    ),
    (
        r"mkdir -p /etc/systemd/network/$(basename $(networkctl status {} | sed -n 's/.*Network File: //p')).d && printf '[DHCPv4]\nIPv6OnlyMode=no\n' | tee /etc/systemd/network/$(basename $(networkctl status {} | sed -n 's/.*Network File: //p')).d/90-ipv4.conf && networkctl reload",
        "tests/clients/cases.rs",
        "option_108_without_ipv6",
    ),
    (
        r"ip route del default dev {}",
        "tests/netns/stories/remedies.rs",
        "ways_and_ports_are_put_right",
    ),
    (
        r"bramblegate shutdown",
        "tests/netns/stories/shutdown.rs",
        "nodes_are_off_and_a_straggler_is_named",
    ),
    (
        r"chown root",
        "tests/netns/stories/shutdown.rs",
        "a_key_that_is_not_right_stops_it_before_anything_happens",
    ),
    (
        r"chmod 600 {}",
        "tests/netns/stories/shutdown.rs",
        "a_key_that_is_not_right_stops_it_before_anything_happens",
    ),
    (
        r"ssh-keygen -p -N '' -f {}",
        "tests/netns/stories/shutdown.rs",
        "a_key_that_is_not_right_stops_it_before_anything_happens",
    ),
    (
        r"ssh-keygen -t ed25519 -N '' -C bramblegate-shutdown -f {}",
        "tests/netns/stories/shutdown.rs",
        "a_key_that_is_not_right_stops_it_before_anything_happens",
    ),
    (r"tcpdump -eni {} stp", "tests/netns/stories/remedies.rs", "who_holds_dhcp_back_is_seen"),
    (
        r"tcpdump -eni {} 'icmp6 and ip6[40] == 134'",
        "tests/netns/stories/ipv6.rs",
        "a_router_among_the_nodes_is_refused_and_reported",
    ),
    (
        r"tcpdump -eni {} ip and not net {}",
        "tests/netns/stories/remedies.rs",
        "what_is_advised_to_look_at_shows_rules",
    ),
    (
        r"iptables-legacy -S FORWARD",
        "tests/netns/stories/remedies.rs",
        "what_is_advised_to_look_at_shows_rules",
    ),
    (
        r"iptables-legacy -S FORWARD shows rules that nftables cannot see",
        "tests/netns/stories/remedies.rs",
        "what_is_advised_to_look_at_shows_rules",
    ),
    (r"bramblegate doctor", "tests/netns/stories/remedies.rs", "who_has_port_67_is_stopped"),
    (
        r"nft list ruleset",
        "tests/netns/stories/service.rs",
        "drop_at_input_is_named_and_its_remedy_helps",
    ),
    (
        r"iptables-legacy-save",
        "tests/netns/stories/service.rs",
        "drop_at_input_is_named_and_its_remedy_helps",
    ),
    (
        r"tc filter show dev PORT ingress",
        "tests/netns/stories/service.rs",
        "drop_at_input_is_named_and_its_remedy_helps",
    ),
    (r"kill -USR1 {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (
        r"sysctl -w net.ipv4.ip_forward=1",
        "tests/netns/stories/roles.rs",
        "venues_are_not_led_to_one_another",
    ),
    (
        r"ip link set {} nomaster",
        "tests/netns/stories/remedies.rs",
        "ports_of_a_bridge_are_put_right",
    ),
    (
        r"ip link set PORT up master {}",
        "tests/netns/stories/remedies.rs",
        "ports_of_a_bridge_are_put_right",
    ),
    (r"ip rule", "tests/netns/stories/routing.rs", "rule_that_takes_a_part_is_reported_too"),
    (
        r"ip route show table all",
        "tests/netns/stories/routing.rs",
        "rule_that_takes_a_part_is_reported_too",
    ),
    (
        r"ip rule add preference 32766 lookup main",
        "tests/netns/stories/routing.rs",
        "rule_that_takes_a_part_is_reported_too",
    ),
    (
        r"ip rule add preference {} {} goto {}",
        "tests/netns/stories/routing.rs",
        "rule_before_ours_is_reported_with_a_remedy_that_works",
    ),
    (
        r"ip rule add preference {} iif {}{} {}",
        "tests/netns/stories/routing.rs",
        "rule_that_takes_a_part_of_the_nodes_way_out_is_reported",
    ),
    (
        r"ip rule add preference {} iif {} lookup {}",
        "tests/netns/stories/routing.rs",
        "rules_of_a_vpn_cut_no_node_off",
    ),
    (r"systemctl start bramblegate", "tests/system/guest/steps/30-troubles.sh", "printed_commands"),
    (r"systemctl stop bramblegate", "tests/system/guest/steps/30-troubles.sh", "printed_commands"),
    (
        r"systemctl status bramblegate",
        "tests/system/guest/steps/30-troubles.sh",
        "printed_commands",
    ),
    (r"journalctl -u bramblegate", "tests/system/guest/steps/30-troubles.sh", "printed_commands"),
    (
        r"journalctl -x -u bramblegate",
        "tests/system/guest/steps/30-troubles.sh",
        "printed_commands",
    ),
    (
        r"journalctl -b --no-pager -n 50 -u {}",
        "tests/system/guest/steps/30-troubles.sh",
        "printed_commands",
    ),
    (
        r"udevadm control --reload && udevadm trigger",
        "tests/system/guest/steps/30-troubles.sh",
        "printed_commands",
    ),
    (r"hostnamectl hostname", "tests/system/guest/steps/30-troubles.sh", "printed_commands"),
    (r"systemctl restart bramblegate", "tests/system/guest/steps/30-troubles.sh", "restart"),
    (r"systemctl reload bramblegate", "tests/system/guest/steps/30-troubles.sh", "reload"),
    (r"usermod -aG bramblegate $USER", "tests/system/guest/steps/40-nodes.sh", "orders"),
    (r"systemctl poweroff", "tests/system/guest/steps/60-buttons.sh", "hold_power"),
    (r"make install", "tests/system/guest/steps/10-ground.sh", "need_installation"),
    (r"bramblegate off", "tests/netns/stories/restart.rs", "off_cleans_up_after_a_dead_daemon"),
    (
        r"bramblegate setup",
        "tests/netns/stories/verbs.rs",
        "machine_is_looked_at_before_there_are_settings",
    ),
    (
        r"bramblegate detect",
        "tests/netns/stories/verbs.rs",
        "machine_is_looked_at_before_there_are_settings",
    ),
    (
        r"bramblegate detect > {}",
        "tests/netns/stories/verbs.rs",
        "machine_is_looked_at_before_there_are_settings",
    ),
    (
        r"bramblegate check",
        "tests/netns/stories/verbs.rs",
        "machine_is_looked_at_before_there_are_settings",
    ),
    (
        r"bramblegate check -c {}",
        "tests/netns/stories/verbs.rs",
        "machine_is_looked_at_before_there_are_settings",
    ),
    (
        r"bramblegate doctor --try",
        "tests/kernel/doctor.rs",
        "it_asks_the_venues_servers_and_our_own",
    ),
    (r"bramblegate nodes", "tests/netns/stories/inventory.rs", "static_node_is_found_and_adopted"),
    (
        r"bramblegate nodes adopt",
        "tests/netns/stories/inventory.rs",
        "static_node_is_found_and_adopted",
    ),
    (
        r"bramblegate nodes adopt @NODE@",
        "tests/netns/stories/inventory.rs",
        "static_node_is_found_and_adopted",
    ),
    (r"bramblegate nodes rename", "tests/netns/stories/names.rs", "first_come_first_named"),
    (
        r"bramblegate nodes drain",
        "tests/netns/stories/inventory.rs",
        "drained_node_raises_no_alarm_and_stays_drained",
    ),
    (
        r"bramblegate ssh-config",
        "tests/netns/stories/ssh.rs",
        "ssh_by_name_works_from_the_laptop_and_from_the_head",
    ),
    (
        r"bramblegate status",
        "tests/netns/stories/status.rs",
        "status_verb_reports_by_its_exit_code",
    ),
    (
        r"bramblegate status --watch",
        "tests/netns/stories/status.rs",
        "status_verb_reports_by_its_exit_code",
    ),
    (r"bramblegate run", "tests/netns/stories/ground.rs", "world_stands_without_a_gateway"),
    (
        r"bramblegate print ruleset",
        "tests/netns/stories/firewall.rs",
        "printed_rule_set_is_what_the_kernel_holds",
    ),
    (
        r"mount -o remount,rw {}",
        "tests/kernel/doctor.rs",
        "what_is_mounted_read_only_is_named_and_made_writable",
    ),
    (r"networkctl reload", "tests/clients/cases.rs", "cluster_port"),
    (r"nmcli general reload", "tests/clients/cases.rs", "cluster_port"),
    (r"systemctl restart dhcpcd", "tests/clients/cases.rs", "cluster_port"),
    (
        r"systemctl enable --now bramblegate-snmp",
        "tests/snmp/cases.rs",
        "doctor_leads_to_an_answer",
    ),
    (
        r"bramblegate web password",
        "tests/verbs/web.rs",
        "a_password_is_asked_for_twice_and_not_shown",
    ),
    (r"systemctl enable --now {}", "tests/system/guest/steps/70-packages.sh", "clat_waits"),
    (r"systemctl enable --now bramblegate-web", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (r"systemctl restart bramblegate-web", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (r"systemctl restart {}", "tests/kernel/doctor.rs", "every_remedy_helps"),
    (
        r"mkdir -p {} && echo 'uplink.allow = [{}]' | tee {}/web.toml && systemctl reload bramblegate",
        "tests/kernel/doctor.rs",
        "every_remedy_helps",
    ),
    (r"apt install snmpd", "tests/snmp/cases.rs", "doctor_leads_to_an_answer"),
    (
        r"bramblegate print snmpd | tee /etc/snmp/snmpd.conf.d/bramblegate.conf && systemctl restart snmpd",
        "tests/snmp/cases.rs",
        "doctor_leads_to_an_answer",
    ),
    (r"systemctl restart snmpd", "tests/snmp/cases.rs", "doctor_leads_to_an_answer"),
    (r"systemctl enable --now snmpd", "tests/snmp/cases.rs", "doctor_leads_to_an_answer"),
    (
        r"echo 'includeDir /etc/snmp/snmpd.conf.d' | tee -a {} && systemctl restart snmpd",
        "tests/snmp/cases.rs",
        "doctor_leads_to_an_answer",
    ),
];

/// Texts in backquotes that are not commands to run.
const NO_COMMANDS: &[&str] = &[
    // The formats of two files.
    "AT_MS FAULT",
    "ip -j address",
    "ip -j route",
    // The end of "`bramblegate nodes drain` or `resume`".
    "resume",
    // A guided test on a real display; only `src/cli/detect/try_panel.rs` tests its questions and
    // answers.
    "bramblegate detect --try ADDRESS",
    "bramblegate detect --try {}",
    // The beginning of what a node runs.
    "-n",
    // A rule of the firewall.
    "{}",
    // Only Raspberry Pi OS has it: these are functions of its script
    // (github.com/RPi-Distro/raspi-config).
    "raspi-config",
    "raspi-config nonint do_i2c 0",
    "raspi-config nonint disable_overlayfs && reboot",
];

/// Returns the commands of a text: those in backquotes, and those that begin with `sudo`, to the
/// end of the clause.
fn commands(text: &str) -> Vec<String> {
    // The help's examples belong to the verbs.
    if text.contains("Examples:") {
        return Vec::new();
    }
    let mut found: Vec<String> = text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    for plain in text.split('`').step_by(2) {
        for (at, _) in plain.match_indices("sudo ") {
            let clause = plain.get(at..).unwrap_or_default();
            let end = [")", "; ", ", ", ": "]
                .iter()
                .filter_map(|mark| clause.find(mark))
                .min()
                .unwrap_or(clause.len());
            found.push(clause.get(..end).unwrap_or_default().to_owned());
        }
    }
    let plain = |command: String| without_values(&command.replace("sudo ", "")).trim().to_owned();
    found.into_iter().map(plain).filter(|command| !command.is_empty()).collect()
}

/// Returns all printed commands, with a file that prints each.
fn printed() -> BTreeSet<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = BTreeSet::new();
    for (name, text) in PRINTED_BY.iter().flat_map(|folder| product_files(root, folder)) {
        for command in literals(product_code(&text)).iter().flat_map(|literal| commands(literal)) {
            all.insert((command, name.clone()));
        }
    }
    all
}

#[test]
fn every_printed_command_has_a_test_that_carries_it_out() {
    let known = |command: &str| {
        TRIED.iter().any(|(tried, _, _)| *tried == command) || NO_COMMANDS.contains(&command)
    };
    let unknown: Vec<_> = printed().into_iter().filter(|(command, _)| !known(command)).collect();
    assert!(
        unknown.is_empty(),
        "no test is named for these: write one, and its row in TRIED\n{unknown:#?}"
    );
}

#[test]
fn every_row_is_a_command_that_is_printed_and_a_test_that_is_there() {
    let printed: BTreeSet<String> = printed().into_iter().map(|(command, _)| command).collect();
    let rows = TRIED.iter().map(|(command, _, _)| *command).chain(NO_COMMANDS.iter().copied());
    let dead: Vec<&str> = rows.filter(|command| !printed.contains(*command)).collect();
    assert!(dead.is_empty(), "nothing prints these any more: {dead:#?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (command, file, function) in TRIED {
        let text =
            fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let defined = [format!("fn {function}("), format!("{function}() {{")];
        assert!(
            defined.iter().any(|form| text.contains(form)),
            "{command}: there is no {function} in {file}"
        );
    }
}

#[test]
fn commands_are_found_where_they_stand() {
    let source = r#"let a = "do it: `sudo a {x}` now (sudo b --c d), and on"; // "sudo no"
        let b = '"'; let c = "sudo f \
            g; h";"#;
    let found: Vec<String> =
        literals(source).iter().flat_map(|literal| commands(literal)).collect();
    assert_eq!(found, ["a {}", "b --c d", "f g"]);
}
