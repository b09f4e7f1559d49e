//! Resolvers, from the files of the system's own tools.

use std::time::Duration;

use bramblegate::event::{Event, Vital};
use bramblegate::watch::uplink::resolvers;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::frame::Trial;
use crate::lab::{sh, trial};
use crate::netlink::block_on;

pub fn tests() -> Vec<Trial> {
    vec![trial("resolvers::a_directory_that_appears_late_is_seen", appears_late)]
}

/// `/run` is empty at the start: every directory of the path appears while it is watched.
fn appears_late() {
    block_on(async {
        let (sender, mut events) = mpsc::channel(64);
        tokio::spawn(resolvers::run(sender));
        tokio::time::sleep(Duration::from_millis(100)).await;
        sh("mkdir -p /run/systemd; sleep 0.1; mkdir -p /run/systemd/netif/leases; sleep 0.2
            echo DNS=10.99.0.1 > /run/systemd/netif/leases/.new; mv /run/systemd/netif/leases/.new /run/systemd/netif/leases/4711");
        until(&mut events, 4711, &["10.99.0.1"]).await;
        sh("rm /run/systemd/netif/leases/4711");
        until(&mut events, 4711, &[]).await;
    });
}

async fn until(events: &mut mpsc::Receiver<Event>, wanted: u32, addresses: &[&str]) {
    let addresses: Vec<std::net::IpAddr> =
        addresses.iter().map(|address| address.parse().unwrap()).collect();
    loop {
        match timeout(Duration::from_secs(5), events.recv()).await {
            Ok(Some(Event::Vital(Vital::Resolvers { index, servers }))) if index == wanted => {
                assert_eq!(servers, addresses);
                return;
            }
            Ok(Some(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}
