//! The status page: who reaches it, on which port, and that the daemon learns the port.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use bramblegate_lab::shell::{exec, must, run, spawn, within};
use bramblegate_lab::{Error, Result, World};

use super::scene::{PLAIN, ensure, is, online, reload, reported, until};

/// The head's additional address at the venue.
const HEAD6: &str = "2001:db8:7::9";

/// Returns what curl(1) gets in a namespace; `None` without a connection.
fn fetch(place: &str, url: &str) -> String {
    let line = format!("curl -s -m 2 -g '{url}'");
    exec(place, &line).map(|(_, text)| text).unwrap_or_default()
}

fn is_page(text: &str) -> bool {
    text.contains("ssh 10.99.0.126") && text.contains("nodes  3/3 up")
}

fn start(world: &mut World) -> Result<()> {
    if world.start_web(None)? {
        Ok(())
    } else {
        Err(Error("there is no bramblegate-web: make build makes it".into()))
    }
}

fn port_is(world: &World, port: &str) -> Result<()> {
    until(&format!("the status has port {port}"), || is(world, "web.port", port)).map(drop)
}

/// By both protocols: always from the cluster, from the venue where `uplink.allow` has "web".
pub fn venue_reaches_the_page_only_where_it_is_allowed() -> Result<()> {
    let venue = PLAIN.replace("[network.dhcp]", "ipv6 = \"2001:db8:7::/64\"\n[network.dhcp]");
    online(&venue, |world| {
        ensure("there is no page yet", reported(world, "web") == "null")?;
        must("head", &format!("ip addr add {HEAD6}/64 dev eth1 nodad"))?;
        must("head", "ip addr add fd00:50::1/64 dev eth0 nodad")?;
        must("rpi1", "ip addr add fd00:50::11/64 dev eth0 nodad")?;
        must("laptop", "ip addr replace 2001:db8:7::20/64 dev eth0 nodad")?;
        start(world)?;
        port_is(world, "80")?;
        until("a node sees the page", || is_page(&fetch("rpi1", "http://192.168.50.1/")))?;
        let by_6 = || is_page(&fetch("rpi1", "http://[fd00:50::1]/"));
        until("a node sees it by IPv6", by_6)?;
        ensure("the head itself does", is_page(&fetch("head", "http://127.0.0.1/")))?;
        let venue = || {
            let urls = ["http://10.99.0.126/".to_owned(), format!("http://[{HEAD6}]/")];
            urls.map(|url| fetch("laptop", &url))
        };
        ensure("the venue does not", venue().iter().all(String::is_empty))?;
        reload(world, "uplink.allow = [\"ssh\", \"icmp\", \"web\"]\n")?;
        until("then it does, by both", || venue().iter().all(|text| is_page(text)))?;
        ensure("and nothing else", fetch("laptop", "http://10.99.0.126:9100/").is_empty())?;
        if let Some(web) = world.web() {
            web.signal("TERM")?;
        }
        until("its end is known", || reported(world, "web") == "null")?;
        let rules = || must("head", "nft list table inet bramblegate").unwrap_or_default();
        until("and closes the port", || !rules().contains("dport 80 "))?;
        ensure("the gateway goes on", is(world, "uplink.state", "online"))
    })
}

/// Another program has port 80: the page is at 8080, which is open then, and on the display.
pub fn page_is_at_8080_where_80_is_taken() -> Result<()> {
    online(PLAIN, |world| {
        reload(world, "uplink.allow = [\"ssh\", \"web\"]\n[lcd]\npage_time = \"1s\"\n")?;
        let log = std::path::Path::new(bramblegate_lab::inside::HOME).join("httpd.log");
        let mut other = within("head", "busybox");
        other.args(["httpd", "-f", "-p", "80", "-h", "/run/netns"]);
        let _other = spawn(&mut other, &log)?;
        until("port 80 is taken", || {
            must("head", "ss -Hltn 'sport = 80'").is_ok_and(|text| !text.is_empty())
        })?;
        start(world)?;
        port_is(world, "8080")?;
        until("the venue sees it", || is_page(&fetch("laptop", "http://10.99.0.126:8080/")))?;
        ensure("and not the other", fetch("laptop", "http://10.99.0.126/").is_empty())?;
        let shown = || world.lcd().is_ok_and(|rows| rows.iter().any(|row| row.contains(":8080")));
        until("the display names the port", shown).map(drop)
    })
}

/// A socket from another network namespace is served too: this puts the demo's page into the
/// machine's own browser.
pub fn handed_over_socket_is_served() -> Result<()> {
    online(PLAIN, |world| {
        run("ip", &["link", "set", "lo", "up"])?;
        let io = |error: std::io::Error| Error(error.to_string());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        ensure("the program is there", world.start_web(Some(OwnedFd::from(listener)))?)?;
        port_is(world, "80")?;
        let outside = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(
                b"GET /?text HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        until("it answers outside of the head", || outside().is_ok_and(|text| is_page(&text)))?;
        until("and inside", || is_page(&fetch("rpi1", "http://192.168.50.1/"))).map(drop)
    })
}
