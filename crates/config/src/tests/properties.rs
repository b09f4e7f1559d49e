//! Properties that hold for any text.

use proptest::prelude::*;

use super::*;

fn soup() -> impl Strategy<Value = String> {
    let tokens: Vec<String> = keys::all()
        .flat_map(|key| key.path.split('.').map(str::to_owned))
        .chain(
            [
                "[",
                "]",
                "[[",
                "]]",
                "{",
                "}",
                "=",
                ".",
                ",",
                "\"",
                "'''",
                "\"\"\"",
                "\n",
                " ",
                "#",
                "1",
                "-0x",
                "1e9",
                "\\u12",
                "\\",
                "ä",
                "\u{feff}",
                "true",
                "inf",
                "1979-05-27",
            ]
            .map(str::to_owned),
        )
        .collect();
    proptest::collection::vec(proptest::sample::select(tokens), 0..60)
        .prop_map(|parts| parts.concat())
}

fn value() -> impl Strategy<Value = String> {
    let fixed = [
        "\"auto\"",
        "\"off\"",
        "\"emulator:x\"",
        "\"1s\"",
        "\"10m\"",
        "\"eth1\"",
        "[\"eth1\"]",
        "[]",
        "true",
        "3",
        "0.5",
        "\"10.0.0.1/24\"",
        "\"50%\"",
        "\"ä\\u0007\\\"\"",
        "{}",
        "[[1]]",
    ];
    proptest::sample::select(fixed.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_text_makes_it_panic(text in ".*", soup in soup()) {
        for text in [&text, &soup] {
            let _ = load(&[("a", text.as_str()), ("b", PORTS)], &board());
            let _ = Board::parse("x", text);
        }
    }

    #[test]
    fn no_value_makes_it_panic(lines in proptest::collection::vec((0..keys::all().count(), value()), 0..8)) {
        let text: String = lines.iter().map(|(index, value)| format!("{} = {value}\n", keys::all().nth(*index).unwrap().path)).collect();
        if let Err(faults) = load(&[("a", PORTS), ("b", text.as_str())], &board()) {
            prop_assert!(faults.iter().all(|fault| fault.line >= 1 && fault.column >= 1 && !fault.remedy.is_empty()));
        }
    }

    #[test]
    fn what_is_printed_reads_as_the_same_settings(
        host in 2u8..90, nodes in 0usize..5, interval in 50u64..3_600_000, brightness in 0.0f64..=1.0,
        body in "\\PC{1,20}", dhcp in any::<bool>(), night in 0u16..1439, log in "[a-z\"\\\\ä]{1,9}",
    ) {
        let mut text = format!(
            "{PORTS}uplink.check.expect = {}\nhealth.interval = \"{}\"\n\
             led.brightness = {brightness:?}\nled.quiet_hours = \"{:02}:{:02}-23:59\"\n\
             lcd.bus = {}\ncluster.address = \"10.7.7.{host}/24\"\n",
            quote(&body), show_duration(Duration::from_millis(interval)), night / 60, night % 60, quote(&format!("emulator:{log}")),
        );
        if dhcp {
            text += "cluster.dhcp.lease_time = \"2h\"\n";
        }
        for node in 0..nodes {
            text += &format!("[[node]]\nname = \"n{node}\"\naddress = \"10.7.7.{}\"\n\
                              probe = [\"icmp\", \"tcp:{}\"]\n", 200 + node, node + 1);
        }
        let merged = read(&[("t", text.as_str())], &board(), None).map_err(|faults| TestCaseError::fail(format!("{faults:?}")))?;
        let printed = merged.to_toml();
        let again = load(&[("printed", printed.as_str())], &board()).map_err(|faults| TestCaseError::fail(format!("{faults:?} in {printed}")))?;
        prop_assert_eq!(&merged.settings, &again);
        prop_assert_eq!(merged.settings.health.interval, Duration::from_millis(interval));
        prop_assert_eq!(merged.settings.nodes.len(), nodes);
    }
}
