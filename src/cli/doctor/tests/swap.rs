//! Swapped cables.

use super::*;

#[test]
fn a_server_on_the_cluster_port_and_none_at_the_uplink_are_swapped_cables() {
    let finding = wired("swap").answer("status", REFUSED).has_finding(
        "gateway-ports-swapped",
        "none on any uplink, though eth1 has a cable",
        "move the cable in eth0 to eth1, and the one in eth1 to eth0",
    );
    assert_eq!(finding.rank, Rank::Blocked);
}

#[test]
fn a_node_at_the_uplink_is_a_swapped_cable_and_another_neighbour_is_not() {
    let node = format!("{ARP}10.0.0.7  0x1  0x2  b8:27:eb:00:00:01  *  eth1\n");
    wired("met").with("/proc/net/arp", &node).has_finding(
        "gateway-ports-swapped",
        "rpi1 was seen at eth1",
        "move the cable",
    );
    for (case, line) in [
        ("silent", "10.0.0.7  0x1  0x0  b8:27:eb:00:00:01  *  eth1"),
        ("inside", "192.168.50.11  0x1  0x2  b8:27:eb:00:00:01  *  eth0"),
        ("venue", "192.168.50.12  0x1  0x2  02:00:00:00:00:55  *  eth1"),
        ("rubbish", "x 0x 0xg"),
    ] {
        assert_eq!(
            wired(case).with("/proc/net/arp", &format!("{ARP}{line}\n")).findings(),
            [],
            "{case}"
        );
    }
}

#[test]
fn a_server_on_the_cluster_port_beside_one_at_the_uplink_is_not_certain() {
    let both: &str = r#"{"alerts":[{"code":"gateway-foreign-dhcp","text":"another DHCP server, 10.0.0.1, answers: if"}],
        "uplinks":[{"interface":"eth1","state":"online"}]}"#;
    let finding = wired("two").answer("status", both).has_finding(
        "gateway-foreign-dhcp",
        "10.0.0.1",
        "switch off DHCP",
    );
    assert_eq!(finding.rank, Rank::Finding);
    // With a node that is a neighbour at the uplink, by its address, it is certain.
    let arp = format!("{ARP}192.168.50.12  0x1  0x2  02:00:00:00:00:55  *  eth1\n");
    wired("two-met").answer("status", both).with("/proc/net/arp", &arp).has_finding(
        "gateway-ports-swapped",
        "rpi2",
        "move",
    );
}
