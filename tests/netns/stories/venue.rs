//! Venues that change, and translators that outlive their program.

use std::fs;

use bramblegate_lab::file::Action;
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::must;
use bramblegate_lab::{Result, World};

use super::remedies::command_of;
use super::scene::{alert, ensure, is, online, until};

const HALL: &str = r#"
purpose = "A hall with IPv6 only and a NAT64"
[[network]]
ipv6 = "2001:db8:7::/64"
nat64 = "2001:db8:64::/96"
ra = "nat64=2001:db8:64::/96@1800"
"#;

/// What NetworkManager's translator leaves on the uplink.
const TRANSLATED: &str = "translator = \"192.0.0.5/32\"\n";

/// The order for the translator, as it lies in the run folder.
fn order() -> Option<String> {
    fs::read_to_string(format!("{HOME}/run/clat.json")).ok()
}

/// Waits twice as long: a probe that found all well comes again after some seconds, and its try
/// takes five.
fn patiently(what: &str, mut answer: impl FnMut() -> bool) -> Result<()> {
    until(what, &mut answer).or_else(|_| until(what, &mut answer)).map(drop)
}

pub fn order_for_the_translator_follows_the_venue() -> Result<()> {
    online(HALL, |world| {
        patiently("the translator is ordered", || order().is_some())?;
        let text = order().unwrap_or_default();
        let wanted = r#"{"schema":1,"uplink":"eth1","prefix":"2001:db8:64::/96","mode":"auto"}"#;
        ensure(&format!("{text} is the order"), text.trim_end() == wanted)?;
        ensure("and waited for", is(world, "clat.state", "waiting"))?;
        world.act(&Action::Advertise { ra: "lifetime=1800".parse()? })?;
        until("withdrawn with the prefix", || order().is_none())?;
        until("the status too", || is(world, "clat", "null")).map(drop)
    })
}

pub fn translator_that_is_left_over_is_put_right() -> Result<()> {
    let left_over = |world: &World| alert(world, "uplink-translator");
    online(&format!("{HALL}{TRANSLATED}"), |world| {
        patiently("another program translates", || is(world, "clat.state", "on"))?;
        ensure("ours is not ordered beside it", order().is_none())?;
        ensure("nothing is wrong with it", left_over(world).is_none())?;
        must("venue", "ip route del 192.0.0.5 dev lan0")?;
        patiently("its end is noticed", || left_over(world).is_some())?;
        patiently("ours is ordered in its place", || order().is_some())?;
        must("head", &command_of(&left_over(world).unwrap_or_default())?)?;
        until("the alert is over", || left_over(world).is_none()).map(drop)
    })
}
