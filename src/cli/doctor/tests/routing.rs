//! Alerts that only the daemon can raise.

use super::*;

#[test]
fn a_duplicate_address_is_reported_by_the_running_daemon() {
    for code in ["gateway-address-taken", "uplink-address-taken"] {
        let status: &'static str = Box::leak(
            format!(
                r#"{{"alerts":[{{"code":"node-down","text":"x: y"}},{{"code":"{code}","text":"02:00:00:00:00:07 on eth0 has 192.168.50.1 too, so: take it off"}}]}}"#
            )
            .into_boxed_str(),
        );
        Head::new(code).answer("status", status).has_finding(
            code,
            "02:00:00:00:00:07 on eth0",
            "take it off",
        );
    }
    let well = Head::new("not-taken")
        .answer("status", r#"{"alerts":[{"code":"node-down","text":"x: y"}]}"#);
    assert_eq!(well.findings(), []);
}
