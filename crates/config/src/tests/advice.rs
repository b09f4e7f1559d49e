//! Remedies are valid: every value that a help line shows is accepted in place of the wrong one.

use super::*;
use crate::keys::{Key, Kind};

/// Values that are wrong for most keys, each in another way.
const WRONG: [&str; 39] = [
    "true",
    "-1",
    "0",
    "1",
    "27",
    "300",
    "99999999",
    "0.5",
    "7.5",
    "{}",
    "[]",
    "[[1]]",
    "[true]",
    "[\"a\", 1, \"b\"]",
    "[-1]",
    "\"\"",
    "\"no\"",
    "\"80\"",
    "\"80C\"",
    "\"x y\"",
    "\"1h30m\"",
    "\"1ms\"",
    "\"999d\"",
    "\"999%\"",
    "\"a:b:c\"",
    "\"tcp:0\"",
    "\"https://example.org/\"",
    "\"http://host:80/\"",
    "\"9-1\"",
    "\"192.168.50.0/24\"",
    "\"10.1.1.1/31\"",
    "\"gpiochip0\"",
    "\"sysfs:../x\"",
    "\"::/0\"",
    "\"2001:db8::/32\"",
    "\"fd12::1:0:0:1/80\"",
    "\"fe80::/10\"",
    "\"ff02::/16\"",
    "\"::ffff:10.0.0.0/104\"",
];

/// Returns a file with this value for the key, in a table that needs nothing else.
fn file(key: &Key, value: &str) -> String {
    let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
    let others = match (table, name) {
        ("node", "name") => "[[node]]\naddress = \"192.168.50.9\"\n",
        ("node", "address") => "[[node]]\nname = \"n\"\n",
        ("node", _) => "[[node]]\nname = \"n\"\naddress = \"192.168.50.9\"\n",
        ("group", "name") => "[[group]]\n",
        ("group", _) => "[[group]]\nname = \"g\"\n",
        ("forward", "listen") => "[[forward]]\nto = \"192.168.50.9:22\"\n",
        ("share", "name") => "[[share]]\npath = \"/mnt/usb\"\n",
        ("share", _) => "[[share]]\nname = \"s\"\n",
        ("forward", _) => "[[forward]]\nlisten = 2201\n",
        _ => "",
    };
    let ports = ["uplink.interfaces = [\"wlan7\"]\n", "cluster.interface = \"eth0\"\n"];
    let ports: String = ports.into_iter().filter(|line| !line.starts_with(key.path)).collect();
    let name = if others.is_empty() { key.path } else { name };
    format!("{ports}{others}{name} = {value}\n")
}

/// Returns the faults about the key's own value.
fn about(key: &Key, text: &str) -> Vec<Fault> {
    let faults = load(&[("t", text)], &board()).err().unwrap_or_default();
    let prefix = format!("{}: ", key.path);
    faults.into_iter().filter(|fault| fault.message.starts_with(&prefix)).collect()
}

/// Returns the values that a help line shows, as TOML: strings, and the numbers behind "such as",
/// "from", "to", "write" and "mean".
fn examples(remedy: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = remedy;
    while let Some((before, after)) = rest.split_once('"') {
        let _ = before;
        let Some((quoted, after)) = after.split_once('"') else { break };
        found.push(format!("\"{quoted}\""));
        rest = after;
    }
    let words: Vec<&str> = remedy.split(' ').collect();
    for pair in words.windows(2) {
        let number = pair[1].trim_end_matches([',', '?', ';', ':']);
        let shown = ["as", "from", "to", "write", "mean"].contains(&pair[0]);
        if shown && (number.parse::<f64>().is_ok() || number.starts_with("0x")) {
            found.push(number.to_owned());
        }
    }
    // Durations, as "from 50ms to 1h" has them.
    for pair in words.windows(2) {
        let text = pair[1].trim_end_matches(',');
        if ["from", "to"].contains(&pair[0]) && crate::grammar::duration(text).is_ok() {
            found.push(format!("\"{text}\""));
        }
    }
    found
}

/// Returns whether an example is a placeholder for a value that only the user knows.
fn is_placeholder(example: &str) -> bool {
    example.contains("SERIAL") || example.contains("NAME")
}

#[test]
fn values_in_help_lines_are_accepted() {
    let (mut messages, mut applied) = (0, 0);
    for key in keys::all() {
        for value in WRONG {
            for fault in about(key, &file(key, value)) {
                messages += 1;
                assert!(!fault.remedy.is_empty(), "{fault}");
                for example in examples(&fault.remedy) {
                    if is_placeholder(&example) {
                        continue;
                    }
                    applied += 1;
                    let text = file(key, &example);
                    let again = about(key, &text);
                    assert!(again.is_empty(), "{fault}\n{example} is refused: {again:#?}");
                    if matches!(key.kind, Kind::List { .. }) && example != "\"off\"" {
                        let again = about(key, &file(key, &format!("[{example}]")));
                        assert!(again.is_empty(), "{fault}\n[{example}] is refused: {again:#?}");
                    }
                }
            }
        }
    }
    // Most keys have several wrong values, and most help lines an example.
    assert!(messages > 10 * keys::all().count(), "{messages} messages");
    assert!(applied > messages, "{applied} examples of {messages} messages");
}

/// Messages keep to English articles, and avoid literal translations.
#[test]
fn messages_keep_to_the_vocabulary() {
    let mut seen = Vec::new();
    for key in keys::all() {
        for value in WRONG {
            seen.extend(about(key, &file(key, value)));
        }
    }
    for fault in seen {
        let text = fault.to_string();
        for part in [" is no ", " are no ", ", as \"", "write integer", "write duration"] {
            assert!(!text.contains(part), "{part:?} in {text}");
        }
        for word in text.split_whitespace() {
            assert!(!["text", "list", "texts", "lists"].contains(&word), "{word:?} in {text}");
        }
        assert!(text.contains(": error: ") && text.contains("\n    help: "), "{text}");
    }
}

/// The values in each file below are inconsistent; the values in the remedy are written in their
/// place.
#[test]
fn remedies_about_several_settings_are_valid() {
    let dhcp = "[cluster.dhcp]\nrange = \"192.168.50.100-192.168.50.199\"\n";
    for (wrong, right) in [
        ("cluster.address = \"192.168.50.0/24\"", "cluster.address = \"192.168.50.1/24\""),
        ("cluster.address = \"192.168.050.1/24\"", "cluster.address = \"192.168.50.1/24\""),
        (
            "cluster.fallback_addresses = [\"10.2.0.1/16\"]",
            "cluster.fallback_addresses = [\"10.2.0.1/24\"]",
        ),
        (
            "cluster.dhcp.range = \"192.168.50.9-192.168.50.8\"",
            "cluster.dhcp.range = \"192.168.50.8-192.168.50.9\"",
        ),
        (
            "[[node]]\nname = \"12h\"\naddress = \"192.168.50.9\"",
            "[[node]]\nname = \"n12h\"\naddress = \"192.168.50.9\"",
        ),
        ("[buttons]\nenabled = true", "[buttons]\nenabled = true\nnext = 5"),
        ("[cluster.netboot]", "[cluster.dhcp]\n[cluster.netboot]"),
        ("lcd.enabled = true\nlcd.bus = \"off\"", "lcd.enabled = true\nlcd.bus = \"/dev/i2c-1\""),
        ("led.enabled = true\nled.device = \"off\"", "led.enabled = true\nled.device = \"auto\""),
        (
            "uplink.check.enabled = true\nuplink.check.method = \"off\"",
            "uplink.check.enabled = true\nuplink.check.method = \"http\"",
        ),
        (
            "[cluster.dhcp]\nstart = \"192.168.50.7\"\nend = \"192.168.50.9\"",
            "[cluster.dhcp]\nrange = \"192.168.50.7-192.168.50.9\"",
        ),
        (
            "[node.rpi1]\naddress = \"192.168.50.9\"",
            "[[node]]\nname = \"rpi1\"\naddress = \"192.168.50.9\"",
        ),
        (
            "[[group]]\nname = \"g\"\nnodes = \"1-2\"",
            "cluster.address = \"10.21.0.1/16\"\n[[group]]\nname = \"g\"\nnodes = \"1-2\"\nnode_address = \"10.21.{group}.{slot}\"",
        ),
    ] {
        let faults = bad(wrong);
        let help = faults[0].split_once('\n').unwrap().1;
        let last = right.lines().rfind(|line| !wrong.contains(line)).unwrap();
        // The remedy shows the key with its value, or the value alone.
        let shown = examples(help).iter().any(|example| last.contains(example.as_str()))
            || help.contains(last);
        assert!(shown, "{help:?} does not show {last:?}");
        good(right);
    }
    let fault = &bad(&format!("{dhcp}[cluster]\nfallback_addresses = [\"10.3.0.150/24\"]\n"))[0];
    assert!(fault.ends_with("write \"10.3.0.1/24\": host parts are kept"), "{fault}");
    good(&format!("{dhcp}[cluster]\nfallback_addresses = [\"10.3.0.1/24\"]\n"));
}
