//! The status page.

use super::*;

#[test]
fn a_place_to_listen_is_a_port_or_an_address_with_one() {
    let listen = |value: &str| good(&format!("web.listen = {value}")).web;
    assert_eq!(listen("8000").listen, [WebAddress::Port(8000)]);
    let at = |text: &str| WebAddress::At(text.parse().unwrap());
    let web = listen("[\"80\", \"192.168.50.1:81\", \"[fd00::1]:82\"]");
    assert_eq!(web.listen, [WebAddress::Port(80), at("192.168.50.1:81"), at("[fd00::1]:82")]);
    let believed: Vec<u16> =
        [22, 80, 81, 82, 8080].into_iter().filter(|p| web.may_listen(*p)).collect();
    assert_eq!(believed, [80, 81, 82, 8080]);
    assert!(!good("web.enabled = false").web.may_listen(80));
    for value in ["0", "70000", "\"x\"", "\"192.168.50.1\"", "\"192.168.50.1:0\"", "[]"] {
        assert_eq!(bad(&format!("web.listen = {value}")).len(), 1, "{value}");
    }
}

#[test]
fn administrators_are_in_the_cluster_unless_networks_are_named() {
    let from = |text: &str| good(text).web.admin_from;
    assert_eq!(from("cluster.address = \"10.7.0.1/16\""), ["10.7.0.0/16".parse().unwrap()]);
    let named = from("web.admin_from = [\"10.1.2.3/24\", \"fd00:1::/64\", \"10.9.9.9\"]");
    let nets = ["10.1.2.0/24", "fd00:1::/64", "10.9.9.9/32"].map(|net| net.parse().unwrap());
    assert_eq!(named, nets);
    assert_eq!(from("web.admin_from = []"), []);
    assert_eq!(bad("web.admin_from = \"home\"").len(), 1);
}

#[test]
fn heads_are_urls_without_a_path() {
    let heads = |text: &str| good(&format!("web.heads = {text}")).web.heads;
    assert_eq!(
        heads("[\"http://rack2.local/\", \"http://[fd00::2]:8080\", \"http://10.0.0.1:80\"]"),
        ["http://rack2.local", "http://[fd00::2]:8080", "http://10.0.0.1"]
    );
    for head in ["rack2.local", "https://rack2.local", "http://rack2.local/status.json"] {
        assert_eq!(bad(&format!("web.heads = \"{head}\"")).len(), 1, "{head}");
    }
}

#[test]
fn names_have_no_scheme_and_no_port() {
    let names = |text: &str| good(&format!("web.names = {text}")).web.names;
    assert_eq!(names("[\"Rack1.Example.org.\", \"rack1\"]"), ["rack1.example.org", "rack1"]);
    assert_eq!(good("").web.names, [""; 0]);
    for name in ["", ".", "http://rack1.example", "rack1:80", "rack 1", "10.0.0.1", "fd00::1"] {
        assert_eq!(bad(&format!("web.names = \"{name}\"")).len(), 1, "{name}");
    }
}
