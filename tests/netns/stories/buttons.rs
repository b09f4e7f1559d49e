//! Buttons, through a FIFO instead of the GPIO chip.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bramblegate::api::client::ControlClient;
use bramblegate::api::control::Order;
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::must;
use bramblegate_lab::world::Input;
use bramblegate_lab::{Error, Result, World};

use super::scene::{PLAIN, STOP, ensure, is, online, until};

/// The row below the address.
fn page(world: &World) -> String {
    world.glass().get(1).cloned().unwrap_or_default()
}

fn is_known(world: &World) -> bool {
    is(world, "alerts.0.code", "node-down") && is(world, "alerts.0.acknowledged", "true")
}

/// A press acknowledges what the panel showed; a restart keeps that, and later alerts are new.
pub fn acknowledged_alert_stays_known() -> Result<()> {
    let settings = format!(
        "settings = '''\n[sockets]\ncontrol = \"{HOME}/control.sock\"\n[health]\n\
         boot_grace = \"2s\"\n'''\n{PLAIN}"
    );
    online(&settings, |world| {
        world.node_down("rpi2")?;
        until("the panel says so", || page(world).contains("rpi2 down"))?;
        ensure("it is not acknowledged", is(world, "alerts.0.acknowledged", "false"))?;
        world.press(Input::Acknowledge, Duration::ZERO)?;
        until("it is known", || is_known(world))?;
        until("the pages have their turn", || page(world).contains("2/3 up"))?;
        let code = world.stop_gateway("TERM", STOP)?;
        ensure(&format!("stopped cleanly, not {code}"), code == 0)?;
        // The format of an earlier version: the words on the panel, which do not name the uplink
        // with the portal.
        let kept = format!("{HOME}/state/acknowledged");
        let text = fs::read_to_string(&kept).unwrap_or_default();
        ensure(&format!("kept by code and subject: {text}"), text == "node-down node=rpi2\n")?;
        let earlier = fs::write(&kept, "node-down rpi2 down\nuplink-portal PORTAL\n");
        earlier.map_err(|error| Error(format!("{kept}: {error}")))?;
        world.start_gateway()?;
        until("it is down again, and known", || is_known(world))?;
        ensure(
            "what is not clear is named",
            world.journal().contains("which is meant: uplink-portal PORTAL;"),
        )?;
        until("it is kept as today", || {
            fs::read_to_string(&kept).is_ok_and(|text| text == "node-down node=rpi2\n")
        })?;
        world.node_down("rpi3")?;
        until("rpi3 is news", || page(world).contains("rpi3 down"))?;
        until("and a fault that is not acknowledged", || {
            is(world, "panel.led.pattern", "fast-blink")
        })?;
        // Not every user has a button.
        let program = crate::program();
        must(
            "head",
            &format!("{} status --acknowledge --socket {HOME}/control.sock", program.display()),
        )?;
        until("an acknowledged fault is amber", || is(world, "panel.led.pattern", "double-blink"))?;
        ensure("it is still a fault", is(world, "severity", "fault"))
    })
}

/// By the button, and by an order from users without one.
pub fn next_page_is_there_at_once() -> Result<()> {
    let socket = format!("{HOME}/control.sock");
    let settings = format!("settings = '''\n[sockets]\ncontrol = \"{socket}\"\n'''\n{PLAIN}");
    online(&settings, |world| {
        until("the first page", || page(world).contains("3/3 up"))?;
        world.press(Input::Next, Duration::ZERO)?;
        let start = Instant::now();
        until("the second", || page(world).contains("online"))?;
        let took = start.elapsed();
        ensure(&format!("at once, not after {took:?}"), took < Duration::from_secs(1))?;
        // By itself it would have stayed for four seconds.
        std::thread::sleep(Duration::from_secs(6));
        ensure(
            &format!("it stands longer, not {:?}", page(world)),
            page(world).contains("online"),
        )?;
        let sent = ControlClient::connect(Path::new(&socket))
            .and_then(|mut client| client.send(&Order::NextPage));
        sent.map_err(|error| Error(error.to_string()))?.map_err(Error)?;
        let start = Instant::now();
        until("another page, by an order", || !page(world).contains("online"))?;
        let took = start.elapsed();
        ensure(&format!("at once, not after {took:?}"), took < Duration::from_secs(1))
    })
}

pub fn power_held_leaves_the_order() -> Result<()> {
    online(PLAIN, |world| {
        let order = format!("{HOME}/run/power-off");
        world.press(Input::Power, Duration::from_secs(3))?;
        std::thread::sleep(Duration::from_secs(3));
        ensure("who lets go early orders nothing", !Path::new(&order).exists())?;
        ensure("and sees pages again", !page(world).contains("POWER"))?;
        world.press(Input::Power, Duration::from_millis(5500))?;
        until("the order is there", || Path::new(&order).exists())?;
        until("the panel says so", || page(world).contains("POWERING OFF"))?;
        until("the journal too", || {
            world.journal().contains("the power button was held: powering off")
        })
        .map(drop)
    })
}
