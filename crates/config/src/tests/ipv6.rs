//! IPv6 for the nodes.

use super::*;

#[test]
fn the_short_form_and_the_table_are_the_same() {
    let ipv6 = |text: &str| good(&format!("cluster.dhcp.enabled = true\n{text}")).cluster.ipv6;
    assert_eq!(ipv6(""), None);
    assert_eq!(ipv6("cluster.ipv6 = \"off\""), None);
    assert_eq!(ipv6("cluster.ipv6 = \"auto\""), Some(Ipv6Prefix::Auto));
    assert_eq!(ipv6("cluster.ipv6.mode = \"auto\""), Some(Ipv6Prefix::Auto));
    let given = |prefix: &str| {
        ipv6(&format!("cluster.ipv6 = {{ mode = \"auto\", prefix = \"{prefix}\" }}"))
    };
    assert_eq!(given("auto"), Some(Ipv6Prefix::Auto));
    for prefix in ["fd12:3456:789a:1::/64", "2001:db8:7::/64"] {
        assert_eq!(given(prefix), Some(Ipv6Prefix::Given(prefix.parse().unwrap())));
    }
    assert_eq!(ipv6("cluster.ipv6.prefix = \"fd12:3456:789a:1::/64\""), None, "its mode says so");
}

#[test]
fn impossible_values_are_reported_with_their_remedy() {
    let one = |text: &str| {
        let faults = bad(text);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        faults.concat()
    };
    let needs = one("cluster.ipv6 = \"auto\"");
    assert!(needs.contains("cluster.ipv6 needs cluster.dhcp"), "{needs}");
    let word = one("cluster.ipv6 = \"on\"");
    assert!(word.contains("\"auto\" or \"off\""), "{word}");
    one("cluster.ipv6 = 6");
    for (prefix, right) in [
        ("fd12::/48", "\"fd12::/64\""),
        ("fd12:3456::1/64", "\"fd12:3456::/64\""),
        ("fd12:3456::1:0:0:1/80", "\"fd12:3456::/64\""),
        ("fe80::/10", "fd12:3456:789a:1::/64"),
        ("ff00::/8", "fd12:3456:789a:1::/64"),
        ("::ffff:0:0/96", "fd12:3456:789a:1::/64"),
        ("fe80::/64", "fd12:3456:789a:1::/64"),
        ("ff02::/64", "fd12:3456:789a:1::/64"),
        ("192.168.50.0/24", "fd12:3456:789a:1::/64"),
        ("", "fd12:3456:789a:1::/64"),
    ] {
        let text = one(&format!("cluster.ipv6.prefix = \"{prefix}\""));
        assert!(text.contains(right), "{prefix}: {text}");
    }
}
