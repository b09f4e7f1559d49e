//! All outputs at one moment: status, its verb, page, metrics, lists of nodes and ssh settings show
//! the same venue, translator and nodes, also where the nodes have IPv6 alone.

use std::fs;

use bramblegate::api::clat::STATE;
use bramblegate_lab::file::Action;
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, must};
use bramblegate_lab::watch::at;
use bramblegate_lab::{Error, Result, World};

use super::hall::{in_the_hall_with, translates};
use super::scene::{ensure, is, reported, until};

/// The hardware address of a node that speaks only IPv6.
const SIX: &str = "b8:27:eb:00:00:66";

/// Returns what a verb of the gateway prints.
fn verb(words: &str) -> String {
    let line = format!("{} {words} --config {HOME}/bramblegate.toml", crate::program().display());
    exec("head", &line).map(|(_, text)| text).unwrap_or_default()
}

/// Returns what the status page's server answers.
fn page(path: &str, kind: &str) -> String {
    let line = format!("curl -s -m 2 -H 'Accept: {kind}' 'http://127.0.0.1{path}'");
    exec("head", &line).map(|(_, text)| text).unwrap_or_default()
}

/// Returns the value at a path of JSON.
fn value(json: &str, path: &str) -> String {
    serde_json::from_str(json).map_or_else(
        |error| format!("{error}: {json}"),
        |status: serde_json::Value| at(&status, path),
    )
}

/// The venue as the status page has it in words.
fn in_words(venue: &str) -> &str {
    match venue {
        "v4" => "IPv4",
        "dual" => "IPv4 and IPv6",
        "v6-mostly" => "IPv6, and IPv4 on request",
        "v6-only+nat64" => "IPv6 alone, translated to IPv4 (NAT64)",
        "v6-only" => "IPv6 alone",
        "portal" => "a log-in page",
        _ => "does not answer",
    }
}

/// Returns which outputs show another venue than the status, or another translator than there is.
fn differing(world: &World) -> Vec<String> {
    let venue = reported(world, "venue");
    let (port, state) = (reported(world, "uplink.interface"), reported(world, "uplink.state"));
    let clat = reported(world, "clat.state");
    let mut wrong = Vec::new();
    let mut same = |what: &str, found: String, holds: bool| {
        if !holds {
            wrong.push(format!("{what} beside {venue} {port} {state} {clat}: {found}"));
        }
    };
    for (what, json) in
        [("status --json", verb("status --json")), ("/status.json", page("/status.json", "*/*"))]
    {
        for (path, known) in [
            ("venue", &venue),
            ("uplink.venue", &venue),
            ("uplink.interface", &port),
            ("uplink.state", &state),
            ("clat.state", &clat),
        ] {
            let found = value(&json, path);
            same(&format!("{what} {path}"), found.clone(), found == *known);
        }
    }
    let text = verb("status");
    same("status", text.clone(), text.contains(&format!("venue {venue}")) && text.contains(&state));
    let metrics = page("/metrics", "text/plain");
    let line = metrics.lines().find(|line| {
        line.starts_with("bramblegate_uplink_info{") && line.contains(&format!("\"{port}\""))
    });
    let line = line.unwrap_or_default().to_owned();
    let holds = [format!("venue=\"{venue}\""), format!("state=\"{state}\"")];
    same("/metrics", line.clone(), holds.iter().all(|part| line.contains(part)));
    let html = page("/", "text/html");
    same("/", html.len().to_string(), html.contains(in_words(&venue)));
    let program = fs::read_to_string(STATE).unwrap_or_default();
    let works = program.contains(r#""mode":"#);
    same("the translator's own report", program, works == (clat == "on"));
    same("its device", clat.clone(), translates() == (clat == "on"));
    wrong
}

/// Waits until the venue is this one, and all outputs show it.
fn all_show(world: &World, venue: &str, port: &str) -> Result<()> {
    let patiently = |what: &str, answer: &mut dyn FnMut() -> bool| {
        until(what, &mut *answer).or_else(|_| until(what, &mut *answer)).map(drop)
    };
    patiently(&format!("{venue} at {port}"), &mut || {
        is(world, "venue", venue) && is(world, "uplink.interface", port)
    })?;
    let mut wrong = Vec::new();
    let agree = until(&format!("all show {venue}"), || {
        wrong = differing(world);
        wrong.is_empty()
    });
    agree.map(drop).map_err(|_| Error(wrong.join("\n")))
}

/// Returns the outputs that do not name this address of a node.
fn without_node(address: &str) -> Vec<String> {
    let in_brackets = format!("[{address}]");
    let outputs = [
        ("status", verb("status"), address),
        ("nodes", verb("nodes"), address),
        ("--format hosts", verb("nodes --format hosts"), address),
        ("--format ansible", verb("nodes --format ansible"), address),
        ("--format json", verb("nodes --format json"), address),
        ("--format prometheus", verb("nodes --format prometheus"), &in_brackets),
        ("ssh-config", verb("ssh-config --direct"), address),
        ("/sd", page("/sd?port=9100", "*/*"), &in_brackets),
        ("/metrics", page("/metrics", "text/plain"), address),
        ("/ in HTML", page("/", "text/html"), address),
        ("/ in text", page("/", "text/plain"), address),
        ("/nodes", page("/nodes", "text/html"), address),
    ];
    let lacks = |(what, text, wanted): &(&str, String, &str)| {
        (!text.contains(*wanted)).then(|| format!("{what} has no {wanted}: {text}"))
    };
    outputs.iter().filter_map(lacks).collect()
}

/// A node without IPv4, which the settings know by its hardware address alone.
fn a_node_of_ipv6_alone_is_everywhere() -> Result<()> {
    must(
        "rpi3",
        &format!(
            "ip link set eth0 down && ip -4 addr flush dev eth0 && ip link set eth0 address {SIX} up"
        ),
    )?;
    let mut address = String::new();
    until("it has an address", || {
        let text = must("rpi3", "ip -6 -o addr show dev eth0 scope global -tentative");
        let net = text.unwrap_or_default();
        let net = net.split_whitespace().find(|word| word.starts_with("fd")).unwrap_or_default();
        net.split('/').next().unwrap_or_default().clone_into(&mut address);
        !address.is_empty()
    })?;
    let mut wrong = Vec::new();
    let shown = until("it is everywhere", || {
        wrong = without_node(&address);
        wrong.is_empty()
    });
    shown.map(drop).map_err(|_| Error(wrong.join("\n")))
}

pub fn all_show_the_same_in_every_venue() -> Result<()> {
    let settings = format!(
        "uplink.allow = [\"ssh\"]\n[cluster.dhcp]\n[cluster.ipv6]\nmode = \"auto\"\n[[node]]\n\
         name = \"six\"\nmac = \"{SIX}\"\n"
    );
    in_the_hall_with(&settings, |world| {
        ensure("the page's program is there", world.start_web(None)?)?;
        all_show(world, "v6-only+nat64", "eth1")?;
        a_node_of_ipv6_alone_is_everywhere()?;
        // The hall withdraws its NAT64, and gives it back.
        world.act(&Action::Advertise { ra: "lifetime=1800 resolver=2001:db8:7::1".parse()? })?;
        all_show(world, "v6-only", "eth1")?;
        let back = "lifetime=1800 nat64=2001:db8:64::/96@1800 resolver=2001:db8:7::1";
        world.act(&Action::Advertise { ra: back.parse()? })?;
        all_show(world, "v6-only+nat64", "eth1")?;
        // A phone.
        world.plug_cable("usb0")?;
        until("its IPv4 goes first", || !translates())?;
        all_show(world, "v6-only+nat64", "eth1")?;
        world.pull_cable("eth1")?;
        all_show(world, "v4", "usb0")?;
        world.plug_cable("eth1")?;
        world.pull_cable("usb0")?;
        all_show(world, "v6-only+nat64", "eth1")?;
        world.act(&"internet portal".parse().map_err(|error| Error(format!("{error}")))?)?;
        all_show(world, "portal", "eth1")?;
        world.act(&"internet open".parse().map_err(|error| Error(format!("{error}")))?)?;
        all_show(world, "v6-only+nat64", "eth1")
    })
}
