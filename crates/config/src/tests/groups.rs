//! Groups, and the nodes that they make.

use super::*;

#[test]
fn a_room_of_modules_takes_ten_lines() {
    let settings = good(ROOM);
    assert_eq!((settings.groups.len(), settings.nodes.len()), (5, 750));
    let node = &settings.nodes[2 * 150 + 16];
    assert_eq!(
        (node.name.as_str(), node.address.unwrap().to_string().as_str()),
        ("module3-17", "10.21.3.17")
    );
    assert_eq!((node.group, &*node.probes), (Some(2), [NodeProbe::Tcp(22)].as_slice()));
    let others = settings
        .nodes
        .iter()
        .filter(|other| std::sync::Arc::ptr_eq(&other.probes, &node.probes))
        .count();
    assert_eq!(others, 750, "one list for all");
    assert_eq!(settings.groups[2].red_below, Some(Threshold::Percent(90)));
    let named = good(&ROOM.replace("groups", "node_name = \"m{group}n{slot}\"\ngroups"));
    assert_eq!(named.nodes[0].name, "m1n1");
}

#[test]
fn a_node_in_a_slot_may_be_described_further() {
    let settings =
        good(&format!("{ROOM}[[node]]\nname = \"module3-17\"\nmac = \"b8:27:eb:00:00:01\"\n"));
    let node = settings.nodes.iter().find(|node| node.name == "module3-17").unwrap();
    assert_eq!(node.address.unwrap().to_string(), "10.21.3.17");
    assert_eq!((node.mac.is_some(), &*node.probes), (true, [NodeProbe::Tcp(22)].as_slice()));
    assert_eq!(settings.nodes.len(), 750);
}

#[test]
fn members_and_named_groups_find_each_other() {
    let node = |name: &str, last: u8, group: &str| {
        format!("[[node]]\nname = \"{name}\"\naddress = \"192.168.50.{last}\"\n{group}")
    };
    let text = format!(
        "[[group]]\nname = \"blades\"\nmembers = \"Blade*\"\n[[group]]\nname = \"spare\"\n{}{}{}",
        node("blade1", 11, ""),
        node("rpi1", 12, "group = \"SPARE\"\n"),
        node("rpi2", 13, ""),
    );
    let groups: Vec<_> = good(&text).nodes.iter().map(|node| node.group).collect();
    assert_eq!(groups, [Some(0), Some(1), None]);
    let wrong = node("rpi1", 12, "group = \"rack\"\n");
    fault(&wrong, "t.toml:6:9: node \"rpi1\": there is no group \"rack\"\nadd a [[group]]");
}

#[test]
fn impossible_rules_are_reported_at_the_group() {
    let faults = |from: &str, to: &str| bad(&ROOM.replace(from, to));
    assert!(
        faults("1-150", "1-300")[0]
            .contains("slot 256 of group \"module1\" would have the address 10.21.1.256")
    );
    assert!(faults("{slot}", "7")[0].contains("gives all nodes the same address"));
    assert!(faults("1-5", "5-1")[0].contains("ends before it begins\nwrite \"1-5\""));
    assert!(
        faults("node_address = \"10.21.{group}.{slot}\"\n", "")
            .iter()
            .any(|fault| fault.contains("has nodes but no node_address"))
    );
    assert!(
        faults("10.21.{group}", "10.22.{group}")[0].contains("is outside the cluster's subnet")
    );
    assert!(faults("name = \"module\"", "name = \"a b\"")[0].contains("is not a host name"));
}

#[test]
fn a_node_and_the_slots_of_a_group_may_have_a_time_limit_of_their_own() {
    let nodes = "[[node]]\nname = \"web\"\naddress = \"192.168.50.9\"\n\
                 probe = \"http://:80/healthz\"\ntimeout = \"2s\"\n\
        [[group]]\nname = \"rack\"\nnodes = \"1-2\"\nnode_address = \"192.168.50.2{slot}\"\n\
        timeout = \"1s\"\n\
        [[node]]\nname = \"rack-2\"\ntimeout = \"500ms\"\n";
    let settings = good(nodes);
    let of = |name| {
        settings
            .nodes
            .iter()
            .find(|node| node.name == name)
            .unwrap()
            .timeout
            .map(|time| time.as_millis())
    };
    assert_eq!((of("web"), of("rack-1"), of("rack-2")), (Some(2000), Some(1000), Some(500)));
    fault(
        &nodes.replace("\"2s\"", "\"2m\""),
        "t.toml:7:11: node.timeout: \"2m\" is too long\nwrite a duration from 5ms to 1m",
    );
}
