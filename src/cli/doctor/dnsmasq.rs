//! Is the dnsmasq that we start one with published holes? Its packets come from nodes.

use super::{CheckContext, Finding, FindingCode};

/// What Debian's security tracker says
/// (<https://security-tracker.debian.org/tracker/source-package/dnsmasq>), with the packages' own
/// changelogs: of which release, from which version on they are closed, and which they are. `None`:
/// not closed there.
const HOLES: [(&str, Option<&str>, &str); 4] = [
    ("12", Some("2.90-4~deb12u2"), SIX),
    ("12", None, TWO),
    ("13", Some("2.91-1+deb13u1"), SIX),
    ("13", Some("2.91-1+deb13u2"), TWO),
];
/// Of May 2026: heap overflows by DNS names, and by long client identifiers of DHCP.
const SIX: &str = "CVE-2026-2291, CVE-2026-4890 to -4893, CVE-2026-5172";
/// Of September 2026.
const TWO: &str = "CVE-2026-12725, CVE-2026-12969";

/// Names the holes of the dnsmasq that is installed, where nodes are served by it.
pub fn holes(context: &CheckContext<'_>) -> Vec<Finding> {
    if context.settings.cluster.dhcp.is_none() {
        return Vec::new();
    }
    let machine = context.machine;
    let release = machine.read("/etc/os-release").unwrap_or_default();
    let release = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_ID="))
        .unwrap_or_default()
        .trim_matches('"');
    let Some(version) = machine.run("dpkg-query", &["-W", "-f", "${Version}", "dnsmasq-base"])
    else {
        return Vec::new();
    };
    let version = version.trim();
    if version.is_empty() {
        return Vec::new();
    }
    let older =
        |fixed: &str| machine.run("dpkg", &["--compare-versions", version, "lt", fixed]).is_some();
    let of_release = || HOLES.iter().filter(|(of, _, _)| *of == release);
    let open: Vec<&str> = of_release()
        .filter(|(_, fixed, _)| fixed.is_some_and(older))
        .map(|(_, _, holes)| *holes)
        .collect();
    let unfixed: Vec<&str> =
        of_release().filter(|(_, fixed, _)| fixed.is_none()).map(|(_, _, holes)| *holes).collect();
    let mut findings = Vec::new();
    if !open.is_empty() {
        let text = format!(
            "dnsmasq {version}, which answers the nodes, has known vulnerabilities: {}",
            open.join(", ")
        );
        findings.push(Finding::of(FindingCode::HostDnsmasqOld, text));
    }
    // A backport of something newer is another package's matter.
    if !unfixed.is_empty() && version.contains("deb12") {
        let text = format!(
            "dnsmasq {version} of Debian {release} has vulnerabilities that are not fixed there yet: {}",
            unfixed.join(", ")
        );
        findings.push(Finding::of(FindingCode::HostDnsmasqOpen, text));
    }
    findings
}
