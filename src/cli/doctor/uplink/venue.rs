//! Venues without IPv4: whether a translator works for the nodes, and which one.

use ipnet::IpNet;

use crate::api::status::{ClatState, Snapshot, Uplink, VenueKind};
use crate::api::{Word, clat};
use crate::cli::doctor::{CheckContext, CheckResult, Finding, FindingCode, Rank};
use crate::cli::machine::Machine;
use crate::config::Clat;
use crate::facts::link::mirror::is_site_local;

/// The unit that runs the translator.
const SERVICE: &str = "bramblegate-clat";
/// Where packages and `make install` put it.
const PROGRAMS: [&str; 2] = ["/usr/bin/bramblegate-clat", "/usr/local/bin/bramblegate-clat"];

/// Returns whether an uplink with these addresses can be reached by IPv6.
pub fn is_reached(held: &[IpNet]) -> bool {
    held.iter()
        .filter(|net| !is_site_local(net))
        .any(|net| matches!(net, IpNet::V6(net) if !net.addr().is_unicast_link_local()))
}

/// Returns whether IPv6 is enough for an uplink, because IPv4 is translated.
pub fn is_enough(status: &Snapshot, held: &[IpNet]) -> bool {
    is_translated(status) && is_reached(held)
}

fn is_translated(status: &Snapshot) -> bool {
    status.clat.as_ref().is_some_and(|clat| clat.state == ClatState::On)
}

/// Finds a venue without IPv4 in which no translator works for the nodes.
pub fn without_ipv4(
    context: &CheckContext<'_>,
    status: &Snapshot,
    port: &str,
    known: &Uplink,
) -> Option<Finding> {
    let kind = known.venue.as_ref()?.known()?;
    let ipv4 = known.address.is_none_or(|address| address.addr().is_ipv4());
    let lacks = [VenueKind::V6Mostly, VenueKind::V6Only, VenueKind::V6OnlyNat64].contains(&kind);
    if !lacks || ipv4 || is_translated(status) {
        return None;
    }
    let reasons = known.venue_reasons.iter().flatten().map(|reason| reason.to_string());
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    let because = if reasons.is_empty() { reasons } else { format!(" ({reasons})") };
    let text = format!("the venue of {port} is {kind}{because}: the nodes have no way out by IPv4");
    let (rank, text, remedy) = match context.settings.uplink.clat {
        _ if kind == VenueKind::V6Only => (
            Rank::Hint,
            text,
            "it has no NAT64 that works: use an uplink with IPv4, such as a phone, or ask the venue"
                .to_owned(),
        ),
        Clat::Off => {
            (Rank::Finding, text, "write clat = \"auto\" in [uplink], and reload".to_owned())
        }
        Clat::Auto | Clat::On => {
            let (why, remedy) = why_not(context.machine);
            (Rank::Finding, format!("{text}; {why}"), remedy)
        }
    };
    Some(Finding::new(FindingCode::UplinkVenue, text, remedy).ranked(rank))
}

/// Shows which translator works, and why it is not the kernel's.
pub fn translator(context: &CheckContext<'_>) -> CheckResult {
    let name = "where IPv4 is translated for the nodes, the kernel does it by BPF".to_owned();
    let status = context.machine.status(&context.settings.sockets.status);
    let mut checked = CheckResult { name, ..CheckResult::default() };
    // The state file is only about our own translator.
    let is_ours = |status: &Snapshot| {
        status.clat.as_ref().is_some_and(|clat| &*clat.by == "bramblegate") && is_translated(status)
    };
    let file = context.machine.bytes(clat::STATE).filter(|_| status.as_ref().is_some_and(is_ours));
    let Some(state) = file.and_then(|file| serde_json::from_slice::<clat::State>(&file).ok())
    else {
        return checked;
    };
    let uplink = state.uplink.unwrap_or_default();
    match state.mode.as_ref().and_then(Word::known) {
        Some(clat::Mode::Bpf) => {
            checked
                .notes
                .push(format!("the kernel translates the nodes' IPv4 on {uplink}, by BPF"));
        }
        Some(clat::Mode::Tun) => {
            let reason = state.reason.map_or_else(String::new, |reason| format!(": {reason}"));
            let text = format!(
                "{SERVICE} translates the nodes' IPv4 on {uplink} by a TUN device, which is \
                 several times slower than BPF in the kernel{reason}"
            );
            let remedy = format!("{}; a newer kernel may take the programs", see_log());
            checked.findings.push(Finding::new(FindingCode::UplinkTranslatorSlow, text, remedy));
        }
        _ => {}
    }
    checked
}

/// Returns why the requested translator does not work, and the remedy.
fn why_not(machine: &Machine) -> (String, String) {
    if !PROGRAMS.iter().any(|program| machine.exists(program)) {
        let why = "bramblegate-clat, which translates IPv4 for them, is not installed".to_owned();
        return (why, "install the package bramblegate-clat (getting-started.md)".to_owned());
    }
    let Some(file) = machine.bytes(clat::STATE) else {
        let why = "bramblegate-clat, which translates IPv4 for them, does not run".to_owned();
        return (why, format!("`sudo systemctl enable --now {SERVICE}`"));
    };
    let state: clat::State = serde_json::from_slice(&file).unwrap_or_default();
    let why = match state.reason {
        Some(reason) => format!("bramblegate-clat: {reason}"),
        None => "bramblegate-clat does not translate yet".to_owned(),
    };
    (why, see_log())
}

fn see_log() -> String {
    format!("see its log: `journalctl -b --no-pager -n 50 -u {SERVICE}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routable_ipv6_addresses_count_as_reached() {
        let reached = |held: &str| is_reached(&[held.parse().unwrap()]);
        assert!(reached("2001:db8::5/64") && reached("fd00::5/64"));
        assert!(!reached("fe80::5/64") && !reached("fec0::5/64") && !reached("10.0.0.5/24"));
    }

    /// Returns the finding with `uplink.clat = CLAT` on a machine with these files.
    fn found(clat: &str, files: &[(&str, &str)], status: &str) -> Option<(Rank, String)> {
        let found = on_machine(clat, files, &[], |context| {
            let crate::api::status::Line::Snapshot(status) =
                crate::api::status::Line::parse(status.as_bytes()).unwrap()
            else {
                panic!("no snapshot")
            };
            without_ipv4(context, &status, "eth1", &status.uplinks[0])
        });
        found.map(|found| (found.rank, format!("{}; {}", found.text, found.remedy)))
    }

    fn on_machine<T>(
        clat: &str,
        files: &[(&str, &str)],
        answers: &[(&'static str, &'static str)],
        look: impl FnOnce(&CheckContext<'_>) -> T,
    ) -> T {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let settings = format!(
            "uplink.interfaces = [\"eth1\"]\nuplink.clat = \"{clat}\"\ncluster.interface = \"eth0\"\n\
             lcd.bus = \"off\"\nled.device = \"off\"\n"
        );
        let board = crate::board::Board::built_in("raspberry-pi-4").unwrap();
        let settings = crate::config::load(&[("t", settings.as_str())], &board).unwrap();
        let machine = Machine::pretend(root.path(), answers);
        look(&CheckContext { machine: &machine, settings: &settings })
    }

    #[test]
    fn a_missing_translator_is_reported() {
        let status = |venue: &str, address: &str, clat: &str| {
            format!(
                r#"{{"type":"snapshot","clat":{clat},"uplinks":[{{"interface":"eth1","address":"{address}","venue":"{venue}","venue_reasons":["pref64 64:ff9b::/96 by RA"]}}]}}"#
            )
        };
        let ipv6 = "2001:db8::1/64";
        let waiting = r#"{"state":"waiting","prefix":"64:ff9b::/96","by":"bramblegate"}"#;
        let on = r#"{"state":"on","prefix":"64:ff9b::/96","by":"bramblegate"}"#;
        let (rank, text) = found("auto", &[], &status("v6-only+nat64", ipv6, waiting)).unwrap();
        assert_eq!(rank, Rank::Finding);
        assert!(
            text.contains("(pref64 64:ff9b::/96 by RA)") && text.contains("not installed"),
            "{text}"
        );
        let waits = status("v6-only+nat64", ipv6, waiting);
        let program = ("usr/bin/bramblegate-clat", "");
        let (_, text) = found("auto", &[program], &waits).unwrap();
        assert!(text.contains("enable --now bramblegate-clat"), "{text}");
        let reason = r#"{"reason":"eth1 has no global IPv6 address"}"#;
        let files = [program, ("run/bramblegate-clat/state.json", reason)];
        let (_, text) = found("on", &files, &waits).unwrap();
        assert!(text.contains("eth1 has no global") && text.contains("journalctl"), "{text}");
        let (_, text) = found("off", &[], &status("v6-mostly", ipv6, "null")).unwrap();
        assert!(text.contains("clat = \"auto\""), "{text}");
        let (rank, _) = found("auto", &[], &status("v6-only", ipv6, "null")).unwrap();
        assert_eq!(rank, Rank::Hint);
        for (venue, address, clat) in [
            ("v6-only+nat64", ipv6, on),
            ("v6-mostly", "10.0.0.2/24", "null"),
            ("dual", ipv6, "null"),
            ("levitating", ipv6, "null"),
        ] {
            assert_eq!(found("auto", &[], &status(venue, address, clat)), None, "{venue}");
        }
    }

    #[test]
    fn the_translator_and_its_reason_are_shown() {
        let on = r#"{"type":"snapshot","clat":{"state":"on","prefix":"64:ff9b::/96","by":"bramblegate"}}"#;
        let other = r#"{"type":"snapshot","clat":{"state":"on","prefix":null,"by":"wlan0"}}"#;
        let shown = |state: &str, status: &'static str| {
            let files = [("run/bramblegate-clat/state.json", state)];
            let checked = on_machine("auto", &files, &[("status", status)], translator);
            let found =
                checked.findings.iter().map(|found| format!("{}; {}", found.text, found.remedy));
            (checked.notes.join("|"), found.collect::<Vec<_>>().join("|"), checked.rank())
        };
        let bpf = r#"{"schema":1,"device":"clat0","uplink":"eth1","mode":"bpf","shared":false}"#;
        let well = "the kernel translates the nodes' IPv4 on eth1, by BPF";
        assert_eq!(shown(bpf, on), (well.to_owned(), String::new(), None));
        let reason = "the kernel does not take clat_inward: Permission denied (os error 13): attempt to corrupt spilled pointer on stack";
        let tun =
            format!(r#"{{"device":"clat0","uplink":"eth1","mode":"tun","reason":"{reason}"}}"#);
        let (notes, found, rank) = shown(&tun, on);
        assert_eq!((notes.as_str(), rank), ("", Some(Rank::Hint)));
        assert!(
            found.contains(reason) && found.contains("TUN") && found.contains("journalctl"),
            "{found}"
        );
        for (state, status) in [(tun.as_str(), other), ("{}", on), ("", on)] {
            assert_eq!(shown(state, status), Default::default(), "{state} {status}");
        }
    }
}
