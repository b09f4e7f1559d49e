//! The status page.

use super::*;

const UNIT: &str = "/usr/lib/systemd/system/bramblegate-web.service";
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/bramblegate-web.service";
/// `/proc/net/tcp` with listeners on port 80 and 8080, whose inodes are 7 and 8.
const PORTS: &str = "sl local\n\
    0: 00000000:0050 00000000:0000 0A 0:0 0:0 0 0 0 7 1\n\
    1: 00000000:1F90 00000000:0000 0A 0:0 0:0 0 0 0 8 1\n";

/// Returns a head whose page runs at this port and answers.
fn serving(name: &str, port: &str) -> Head {
    let answer = match port {
        "80" => "page 127.0.0.1:80",
        _ => "page 127.0.0.1:8080",
    };
    Head::new(name)
        .with("/proc/50/comm", "bramblegate-web\n")
        .with("/run/bramblegate-web/port", &format!("{port}\n"))
        .answer(answer, "")
}

/// Returns the findings about the page, with their remedies.
fn found(head: &Head) -> Vec<(&'static str, Rank, String)> {
    let all = head.all().into_iter().filter(|finding| finding.code.name().starts_with("host-web"));
    all.map(|finding| (finding.code.name(), finding.rank, finding.remedy)).collect()
}

fn codes(head: &Head) -> Vec<(&'static str, Rank)> {
    found(head).into_iter().map(|(code, rank, _)| (code, rank)).collect()
}

#[test]
fn a_stopped_page_is_a_finding_if_it_is_enabled() {
    let head = Head::new("web-off");
    assert_eq!(codes(&head), [], "it is not installed");
    let head = head.with(UNIT, "");
    let start = "`sudo systemctl enable --now bramblegate-web`".to_owned();
    assert_eq!(found(&head), [("host-web-stopped", Rank::Hint, start.clone())]);
    let head = head.with(ENABLED, "");
    assert_eq!(found(&head), [("host-web-stopped", Rank::Finding, start)]);
    let removed = Head::new("web-removed")
        .with(ENABLED, "")
        .link("/etc/systemd/system/bramblegate-web.service", "/dev/null");
    assert_eq!(codes(&removed), [], "the package is removed and not purged");
    let settings = format!("{}web.enabled = false\n", head.settings);
    assert_eq!(codes(&head.set(&settings)), []);
}

#[test]
fn a_page_that_does_not_answer_is_a_finding() {
    let silent = [("host-web-silent", Rank::Finding)];
    let head = Head::new("web-silent").with("/proc/50/comm", "bramblegate-web\n");
    assert_eq!(codes(&head), silent, "it has written no port");
    let head = head.with("/run/bramblegate-web/port", "80\n");
    assert_eq!(codes(&head), silent);
    let head = head.answer("page 127.0.0.1:80", "");
    assert_eq!(codes(&head), [("host-web-not-allowed", Rank::Hint)]);
    let at = format!("{}web.listen = \"192.168.50.1:81\"\n", head.settings);
    let head = head.set(&at).with("/run/bramblegate-web/port", "81\n");
    assert_eq!(codes(&head), silent);
    let head = head.answer("page 192.168.50.1:81", "");
    assert_eq!(codes(&head), [("host-web-not-allowed", Rank::Hint)]);
}

#[test]
fn the_process_on_the_pages_port_is_named() {
    let head = serving("web-port", "8080").with("/proc/net/tcp", PORTS);
    head.file("/proc/60/comm", "apache2\n");
    let head = head.link("/proc/60/fd/4", "socket:[7]");
    let taken = || found(&head).into_iter().find(|(code, ..)| *code == "host-web-port").unwrap();
    assert_eq!(taken().1, Rank::Hint);
    assert!(taken().2.starts_with("`sudo kill 60`"), "{}", taken().2);
    head.file("/proc/60/cgroup", "0::/system.slice/apache2.service\n");
    assert!(taken().2.starts_with("`sudo systemctl disable --now apache2.service`"));
    head.file("/proc/net/tcp", "sl local\n");
    assert_eq!(taken().2, "`sudo systemctl restart bramblegate-web`");
    // Another port in the settings is no problem.
    let elsewhere = ["web.listen = 8080\n", "[[forward]]\nlisten = 80\nto = \"192.168.50.7:80\"\n"];
    for (place, settings) in elsewhere.into_iter().enumerate() {
        let head = serving(&format!("web-port-{place}"), "8080");
        let settings = format!("{}{settings}", head.settings);
        assert_eq!(codes(&head.set(&settings)), [("host-web-not-allowed", Rank::Hint)]);
    }
}

#[test]
fn the_command_that_allows_the_page_keeps_other_services() {
    let head = serving("web-venue", "80");
    let settings = head.settings.clone();
    for (allow, wanted) in [
        ("", "'uplink.allow = [\"ssh\", \"icmp\", \"mdns\", \"web\"]'"),
        ("uplink.allow = []\n", "'uplink.allow = [\"web\"]'"),
        (
            "uplink.allow = [\"mdns\", 8080, \"tcp:8000-8010\", \"udp:51820\"]\n",
            "'uplink.allow = [\"mdns\", \"tcp:8080\", \"tcp:8000-8010\", \"udp:51820\", \"web\"]'",
        ),
    ] {
        let head = serving("web-allow", "80").set(&format!("{settings}{allow}"));
        let found = found(&head);
        assert!(found.len() == 1 && found[0].2.contains(wanted), "{found:?}");
    }
    let head = head.set(&format!("{settings}uplink.allow = [\"ssh\", \"web\"]\n"));
    assert_eq!(codes(&head), []);
}

#[test]
fn a_missing_password_is_found_if_orders_need_it() {
    let usual = "uplink.allow = [\"ssh\", \"web\"]\n";
    let none = "host-web-no-password";
    for (place, (settings, wanted)) in [
        ("", None),
        ("web.admin_from = []\n", None),
        ("web.admin_from = [\"10.1.0.0/16\"]\n", Some(Rank::Hint)),
        ("web.public = \"off\"\n", Some(Rank::Finding)),
    ]
    .into_iter()
    .enumerate()
    {
        let head = serving(&format!("web-password-{place}"), "80");
        let all = format!("{}{usual}{settings}", head.settings);
        let head = head.set(&all);
        let wanted: Vec<_> = wanted.map(|rank| (none, rank)).into_iter().collect();
        assert_eq!(codes(&head), wanted, "{settings}");
        assert_eq!(codes(&head.with("/etc/bramblegate/web.password", "x")), [], "{settings}");
    }
}
