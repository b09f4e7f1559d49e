//! Scripts that made a gateway or a status display before this one did.

use super::{CheckContext, Finding, FindingCode};

/// rc.local and cron lines that set up forwarding, NAT, a display or an LED.
pub fn scripts(context: &CheckContext<'_>) -> Vec<Finding> {
    let machine = context.machine;
    let cron = machine
        .list("/var/spool/cron/crontabs")
        .into_iter()
        .map(|name| format!("/var/spool/cron/crontabs/{name}"));
    let cron_d = machine.list("/etc/cron.d").into_iter().map(|name| format!("/etc/cron.d/{name}"));
    let hooks = ["/etc/network/if-up.d", "/etc/network/if-pre-up.d", "/lib/dhcpcd/dhcpcd-hooks"]
        .into_iter()
        .flat_map(|folder| {
            machine.list(folder).into_iter().map(move |name| format!("{folder}/{name}"))
        });
    let single = ["/etc/rc.local", "/etc/crontab", "/etc/network/interfaces"].map(str::to_owned);
    let files = single.into_iter().chain(cron).chain(cron_d).chain(hooks);
    files.flat_map(|file| in_file(&file, &machine.read(&file).unwrap_or_default())).collect()
}

fn in_file(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        let lower = line.to_ascii_lowercase();
        let place = format!("{file}:{}: {line}", number + 1);
        let firewall = lower.contains("iptables") || lower.contains("ip_forward");
        let display = ["blinkstick", "lcd", "i2c"].iter().any(|word| lower.contains(word))
            && !lower.contains("bramblegate");
        if firewall {
            let remedy = format!(
                "take that line out of {file}: the gateway does it, and puts it back when somebody undoes it"
            );
            findings.push(Finding::new(FindingCode::GatewayLeftover, place, remedy));
        } else if display {
            let remedy =
                format!("take that line out of {file} if it drives the gateway's display or LED");
            findings.push(Finding::new(FindingCode::LcdLeftover, place, remedy));
        }
    }
    findings
}
