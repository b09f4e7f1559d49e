//! Venues that change, and translators that outlive their program.

use std::fs;
use std::time::Duration;

use bramblegate_lab::file::Action;
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{exec, feed, must};
use bramblegate_lab::{Result, World};

use super::remedies::command_of;
use super::scene::{alert, before_start, ensure, is, online, promptly, rules, until};

const HALL: &str = r#"
purpose = "A hall with IPv6 only and a NAT64"
[[network]]
ipv6 = "2001:db8:7::/64"
nat64 = "2001:db8:64::/96"
ra = "nat64=2001:db8:64::/96@1800"
"#;

/// What NetworkManager's translator leaves on the uplink.
const TRANSLATED: &str = "translator = \"192.0.0.5/32\"\n";

/// The order for the translator, in the run folder.
fn order() -> Option<String> {
    fs::read_to_string(format!("{HOME}/run/clat.json")).ok()
}

/// Waits twice as long: after a success the next probe comes after some seconds, and its attempt
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

/// Counts packets that reach the venue untranslated.
const SEEN: &str = "table netdev seen {\nchain ipv4 {\ntype filter hook ingress device lan0 \
                    priority 0\nip daddr 203.0.113.80 counter\n}\n}\n";

/// Resets the counter.
fn count() -> Result<()> {
    let _ = exec("venue", "nft delete table netdev seen");
    feed("ip", &["netns", "exec", "venue", "nft", "-f", "-"], SEEN).map(drop)
}

/// Tries IPv4 from a node and from the head; returns whether the venue saw any of it.
fn shows_ipv4() -> Result<bool> {
    count()?;
    exec("rpi1", "ping -c 4 -i 0.1 -W 1 203.0.113.80")?;
    exec("head", "ping -c 4 -i 0.1 -W 1 203.0.113.80")?;
    Ok(!must("venue", "nft list chain netdev seen ipv4")?.contains("packets 0 "))
}

/// The same where the translator was killed before the gateway started.
pub fn nothing_leaves_by_a_translator_that_ended_before() -> Result<()> {
    before_start(&format!("{HALL}{TRANSLATED}"), |world| {
        until("the head has IPv6", || {
            must("head", "ip -6 route show default dev eth1").is_ok_and(|text| !text.is_empty())
        })?;
        world.act(&Action::TranslatorDies)?;
        ensure("IPv4 leaves by what it left", shows_ipv4()?)?;
        world.start_gateway()?;
        until("the rules", || rules("head", "chain inet bramblegate forward").is_ok())?;
        let held = || rules("head", "chain inet bramblegate left_over").is_ok();
        let took = until("what it left is held back", held)?;
        promptly("it is held back", took, Duration::from_millis(500))?;
        ensure("nothing shows at the venue", !shows_ipv4()?)?;
        until("it is reported", || alert(world, "uplink-translator").is_some())?;
        patiently("ours is ordered in its place", || order().is_some()).map(drop)
    })
}

/// A killed translator leaves its address and the IPv4 default route. Bramblegate's takes over, but
/// not in this world: nothing reaches the venue anyway.
pub fn nothing_leaves_by_a_translator_that_has_ended() -> Result<()> {
    online(&format!("{HALL}{TRANSLATED}"), |world| {
        patiently("another program translates", || is(world, "clat.state", "on"))?;
        ensure("what it would take leaves by it", shows_ipv4()?)?;
        world.act(&Action::TranslatorDies)?;
        let held = || rules("head", "chain inet bramblegate left_over").is_ok();
        let took = until("what it left is held back", held)?;
        promptly("it is held back", took, Duration::from_millis(500))?;
        ensure("nothing shows at the venue", !shows_ipv4()?)?;
        must("head", "ip addr del 192.0.0.5/32 dev eth1")?;
        until("there is nothing to hold back any more", || !held()).map(drop)
    })
}
