//! Settings that are well formed but make no sense.

use super::*;

#[test]
fn rules_that_give_a_name_twice_are_reported_with_both_places() {
    let group = |name: &str, node: &str, net: u8| {
        format!(
            "[[group]]\nname = \"{name}\"\nnodes = \"1-3\"\nnode_name = \"{node}\"\n\
             node_address = \"10.21.{net}.{{slot}}\"\n"
        )
    };
    let wide = "cluster.address = \"10.21.0.1/16\"\n";
    let two = |first: &str, second: &str| {
        format!("{wide}{}{}", group("a", first, 1), group("b", second, 2))
    };
    assert_eq!(good(&two("n{slot}", "m{slot}")).nodes.len(), 6);
    let wrong = "t.toml:12:13: slot 1 of group \"b\" would be a second node named \"N1\"\ngive each \
                 its own, such as node_name = \"r{group}-{slot}\"; the first is made at t.toml:7:13";
    fault(&two("n{slot}", "N{slot}"), wrong);
    // n1 and 12 is n11 and 2.
    let run = ROOM.replace("1-5", "1-11").replace("1-150", "2-12");
    let faults = bad(&run.replace("groups", "node_name = \"n{group}{slot}\"\ngroups"));
    assert!(
        faults[0].contains("slot 2 of group \"module11\" would be a second node named \"n112\""),
        "{faults:?}"
    );
    assert_eq!(
        good(&run.replace("groups", "node_name = \"n{group}-{slot}\"\ngroups")).nodes.len(),
        121
    );
}

#[test]
fn a_keyword_or_time_of_dnsmasq_is_no_node_name() {
    let node = |name: &str| format!("[[node]]\nname = \"{name}\"\naddress = \"192.168.50.9\"\n");
    for name in ["ignore", "Infinite", "LOCALHOST", "7", "12h", "5W"] {
        let faults = bad(&node(name));
        let right = format!("put a letter before it, such as \"n{name}\"");
        assert!(
            faults.len() == 1
                && faults[0].contains("cannot be the name of a node")
                && faults[0].ends_with(&right),
            "{faults:?}"
        );
    }
    for name in ["n7", "7x", "h", "12-h", "ignored", "12hh"] {
        assert_eq!(good(&node(name)).nodes[0].name, name);
    }
    let rule =
        |node: &str| bad(&ROOM.replace("groups", &format!("node_name = \"{node}\"\ngroups")));
    assert!(rule("{slot}")[0].ends_with("put a letter before it, such as \"n{slot}\""));
    assert!(
        rule("{group}{slot}d")[0].contains("cannot be the name of a node: it is a time to dnsmasq")
    );
    let long = bad(&ROOM.replace("module", &"m".repeat(60)));
    assert!(
        long[0].contains("slot 10 of group") && long[0].contains("is not a host name"),
        "{long:?}"
    );
}

#[test]
fn an_address_with_zeros_in_front_is_refused() {
    for address in ["192.168.050.1/24", "192.168.50.010/24", "192.168.50.1/024"] {
        let faults = bad(&format!("cluster.address = \"{address}\"\n"));
        assert!(
            faults.len() == 1 && faults[0].starts_with("t.toml:3:19: cluster.address: "),
            "{faults:?}"
        );
    }
}

#[test]
fn ports_that_can_lead_to_no_node_are_refused() {
    let forward =
        |listen: &str, to: &str| format!("[[forward]]\nlisten = {listen}\nto = \"{to}\"\n");
    let others =
        ["8.8.8.8", "192.168.50.1", "127.0.0.1", "192.168.50.255", "192.168.50.0", "10.213.50.1"];
    for address in others {
        fault(&forward("5353", &format!("{address}:53")), &format!("t.toml:5:6: {address} is "));
    }
    for address in ["192.168.50.2", "10.213.50.2"] {
        assert_eq!(good(&forward("\"udp:53\"", &format!("{address}:53"))).forwards.len(), 1);
    }
    for port in ["\"udp:67\"", "\"udp:68\""] {
        assert!(bad(&forward(port, "192.168.50.2:68"))[0].contains("is a port of DHCP"));
    }
    assert_eq!(good(&forward("\"tcp:68\"", "192.168.50.2:68")).forwards.len(), 1);
}

#[test]
fn a_rule_that_is_wrong_for_all_its_nodes_is_reported_in_a_few_lines() {
    let faults = bad(&ROOM.replace("10.21.{group}", "10.22.{group}"));
    assert_eq!(faults.len(), 5, "{faults:#?}");
    assert!(
        faults[0].contains("10.22.1.1 is outside")
            && faults[4].contains("and 746 more errors here"),
        "{faults:#?}"
    );
}

#[test]
fn domains_that_resolvers_never_query_are_refused() {
    for domain in
        ["local", "Local", "localhost", "a.localhost", "arpa", "cluster.local", "in-addr.arpa"]
    {
        fault(&format!("cluster.domain = \"{domain}\""), "t.toml:3:18: cluster.domain: ");
    }
    for domain in
        ["home.arpa", "x.home.arpa", "locale", "notlocal", "notlocalhost", "bramble.example"]
    {
        assert_eq!(good(&format!("cluster.domain = \"{domain}\"")).cluster.domain, domain);
    }
}
