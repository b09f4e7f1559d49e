use super::*;

fn id(code: AlertCode, subject: Subject) -> AlertId {
    AlertId { code, subject }
}

#[test]
fn the_table_is_sorted_and_every_name_begins_with_its_subject() {
    let names: Vec<&str> = AlertCode::ALL.iter().map(|code| code.name()).collect();
    assert!(names.is_sorted(), "{names:?}");
    for code in AlertCode::ALL {
        let about = code.name().split('-').next().unwrap_or_default();
        assert!(
            ["gateway", "host", "lcd", "led", "node", "share", "uplink"].contains(&about),
            "{code}"
        );
        assert_eq!(code.name().parse(), Ok(*code));
        assert_ne!(code.severity(), Severity::Ok, "{code}");
    }
    assert_eq!("node-dow".parse::<AlertCode>(), Err(UnknownCode));
}

#[test]
fn saved_ids_are_read_back() {
    let name = || "rpi1".to_owned();
    let subjects = [
        Subject::Whole,
        Subject::Port("eth1".to_owned()),
        Subject::Node(name()),
        Subject::Group("rack 1".to_owned()),
        Subject::Address([192, 168, 50, 11].into()),
        Subject::Board(Mac([0xb8, 0x27, 0xeb, 0, 0, 1])),
        Subject::Chain("ip filter FORWARD".to_owned()),
        Subject::Rule(5000),
        Subject::Forward("tcp:2201".to_owned()),
        Subject::Share("usb".to_owned()),
    ];
    let parts = Part::ALL.iter().copied().map(Subject::Part);
    for subject in subjects.into_iter().chain(parts) {
        let kept = id(AlertCode::NodeDown, subject);
        assert_eq!(kept.to_string().parse(), Ok(kept.clone()), "{kept}");
    }
    for line in ["", "node-dow", "node-down rpi1 down", "node-down nod=rpi1", "gateway-rule rule=x"]
    {
        assert_eq!(line.parse::<AlertId>(), Err(UnknownSubject), "{line}");
    }
}

#[test]
fn saved_panel_words_are_read_if_they_are_unambiguous() {
    let port = |name: &str| Subject::Port(name.to_owned());
    let node = |name: &str| Subject::Node(name.to_owned());
    for (line, meant) in [
        ("node-down rpi1 down", id(AlertCode::NodeDown, node("rpi1"))),
        ("node-degraded rpi1 lossy", id(AlertCode::NodeDegraded, node("rpi1"))),
        ("uplink-none NO CABLE", id(AlertCode::UplinkNone, Subject::Whole)),
        ("uplink-clash CLASH 192.168.50", id(AlertCode::UplinkClash, Subject::Whole)),
        ("uplink-enslaved eth1 IN br0", id(AlertCode::UplinkEnslaved, port("eth1"))),
        ("uplink-exit-by EXIT BY wg0", id(AlertCode::UplinkExitBy, port("wg0"))),
        ("gateway-unknown-port eth2 NO ROLE", id(AlertCode::GatewayUnknownPort, port("eth2"))),
        ("gateway-rule RULE 4999", id(AlertCode::GatewayRule, Subject::Rule(4999))),
        ("gateway-drops DROPS STRAYS", id(AlertCode::GatewayDrops, Subject::Part(Part::Strays))),
        (
            "gateway-netboot NO BOOT FILES",
            id(AlertCode::GatewayNetboot, Subject::Part(Part::BootFolder)),
        ),
        ("host-pressure BUSY", id(AlertCode::HostPressure, Subject::Part(Part::Processor))),
        (
            "node-group-fault rack 1 FAULT",
            id(AlertCode::NodeGroupFault, Subject::Group("rack 1".to_owned())),
        ),
        (
            "node-duplicate-address TWICE 192.168.50.11",
            id(AlertCode::NodeDuplicateAddress, Subject::Address([192, 168, 50, 11].into())),
        ),
    ] {
        assert_eq!(AlertId::from_panel_words(line), [meant], "{line}");
    }
    let both = AlertId::from_panel_words("node-forward-lost NO WAY 2201");
    assert_eq!(
        both.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["node-forward-lost forward=tcp:2201", "node-forward-lost forward=udp:2201"]
    );
    // These words do not name the uplink, the table or the nodes.
    for line in [
        "uplink-portal PORTAL",
        "gateway-blocked BLOCKED FORWARD",
        "node-group-down rack1 3 down",
        "node-forward-lost NO WAY x",
        "no-such-code WORDS",
        "node-down",
        "",
    ] {
        assert_eq!(AlertId::from_panel_words(line), [], "{line}");
    }
}
