use std::time::Duration;

use super::expect::glob;
use super::*;

const PLAIN: &str = r#"
purpose = "A home router"
[[network]]
address = "10.99.0.1/24"
laptop = "10.99.0.20/24"
[network.dhcp]
address = "10.99.0.126"
[[expect]]
row1 = "10.99.0.126"
status.uplink.state = "online"
from_node = ["ping 203.0.113.80", "http http://www.example/"]
not_from_laptop = "arp 192.168.50.1"
[[step]]
at = "2s"
do = "renew"
[[expect]]
at = "2s"
row1 = "10.99.0.126"
hold = "1s"
"#;

#[test]
fn a_plain_venue_reads_with_its_defaults() {
    let venue = Venue::parse("plain.toml", PLAIN).unwrap();
    let network = &venue.networks[0];
    assert_eq!(
        (network.port.as_str(), network.mtu, network.internet),
        ("eth1", 1500, Internet::Open)
    );
    assert_eq!(network.dhcp.as_ref().unwrap().lease, Duration::from_secs(3600));
    assert_eq!(venue.moments.len(), 2);
    let first = &venue.moments[0].expects[0];
    assert_eq!(first.status, [("uplink.state".to_owned(), "online".to_owned())]);
    assert_eq!(first.checks.len(), 3);
    assert_eq!(venue.moments[1].steps[0].action, Action::Renew { port: None });
}

#[test]
fn every_fault_is_reported_with_its_place() {
    let text =
        "purpose = 3\n[[network]]\naddres = \"10.0.0.1/8\"\nmtu = 3\n[[step]]\ndo = \"explode\"\n";
    let error = Venue::parse("bad.toml", text).unwrap_err().0;
    let lines: Vec<&str> = error.lines().collect();
    assert!(
        lines.iter().any(|line| line.starts_with("bad.toml:1:11: purpose is a string")),
        "{error}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("bad.toml:3:1: unknown key addres in [[network]]")),
        "{error}"
    );
    assert!(lines.iter().any(|line| line.starts_with("bad.toml:4:7: mtu is a number")), "{error}");
    assert!(
        lines.iter().any(|line| line.starts_with("bad.toml:6:7: \"explode\" is nothing")),
        "{error}"
    );
}

#[test]
fn text_that_is_no_toml_is_reported_with_its_place() {
    assert!(Venue::parse("x.toml", "purpose = \n").unwrap_err().0.starts_with("x.toml:1:"));
}

#[test]
fn dnsmasq_cannot_lease_for_less_than_two_minutes() {
    let text = PLAIN
        .replace("address = \"10.99.0.126\"\n", "address = \"10.99.0.126\"\nlease = \"30s\"\n");
    assert!(Venue::parse("x.toml", &text).unwrap_err().0.contains("udhcpd"));
}

#[test]
fn globs_match_runs_and_single_characters() {
    assert!(glob("10.99.0.*", "10.99.0.126"));
    assert!(glob("*PORTAL*", "  PORTAL ♥"));
    assert!(glob("a?c", "abc") && !glob("a?c", "ac") && !glob("", "x") && glob("*", ""));
    assert!(!glob("10.99.0.1", "10.99.0.126"));
    assert!(glob("[]", "[]") && glob("[a*]", "[a, b]") && !glob("[ab]", "a"));
    assert!(glob("ok|notice", "notice") && !glob("ok|notice", "warning"));
}

#[test]
fn every_venue_of_the_tree_reads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/venues");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            Venue::read(&path).unwrap();
            count += 1;
        }
    }
    assert!(count >= 29, "only {count} venues");
}

#[test]
fn what_is_no_toml_is_reported_in_words() {
    let error = Venue::parse("a", "purpose wanted").unwrap_err().to_string();
    assert!(error.starts_with("a:1:9: this is no TOML: expected an equals, found "), "{error}");
}

#[test]
fn the_example_in_the_manual_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/venues/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let example = text.split("```").nth(1).unwrap().trim_start_matches("toml");
    Venue::parse("README.md", example).unwrap();
}
