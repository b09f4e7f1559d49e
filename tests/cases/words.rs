//! The language of events: one per line. Interfaces are named; a name's index is given once.
//!
//! ```text
//! listing | listed | overrun                              the kernel's dump begins, ends; messages were lost
//! link 3 eth1 [cable] [radio] [down] [in br0]             an interface; without "cable" it has no carrier
//! link eth1 gone
//! address eth1 10.99.0.126/24 [for 120s] [tentative]      [deprecated] [temporary] [ours] [gone]
//! kept fd12:3456:789a:1::/64 [forwarded]                  the nodes' own network; the kernel forwarded IPv6 before
//! delegated 2001:db8:100::/56 [gone]                      a DHCPv6 client was delegated a prefix
//! anycast eth1 2001:db8::464 [gone]                       a program answers for an address that the port does not have
//! route eth1 default via 10.99.0.1 metric 100             [table 254] [src ADDRESS] [onlink] [gone]
//! forwarding eth1 off
//! internet eth1 online|portal|nothing
//! portal eth1 http://login.hotel/ | portal eth1 none      where the probe was redirected; "lease" before it: from a DHCP client
//! asks eth1 no-client|waiting|unanswered|declined         how far the uplink's DHCP client has come; also
//!                                                         "offered", "ipv6-only" and "refused", with the server
//! node rpi1 310us | node rpi1 silent                      one round of probes; "x 3" at the end of any line repeats it
//! shutdown 25 up rpi1,rpi2 going rpi3 staying rpi2 head ended   a report of the verb; all but the seconds may be left out
//! node rpi1 310us retried                                 the first try was lost
//! denied icmp | allowed icmp                              whether such probes may be sent
//! flushed [by nft (4711)]                                 another program changed our rules
//! blocked ip filter FORWARD: a remedy | unblocked         another tool's drop
//! cut names ip filter INPUT: a remedy | uncut             another tool's drop of promised traffic: addresses, names, ssh
//! taken eth0 192.168.50.1 MAC | untaken                   another board has this address of the head
//! passed 10 9                                             packets accepted in forward, seen at postrouting
//! dropped 30 by not from an address of the cluster [as 192.168.60.7]  packets that one of our rules has dropped
//! ip-forward on | ip-forward off                          net.ipv4.ip_forward
//! dhcp eth0 alone | dhcp eth0 foreign 10.0.0.1 MAC        another DHCP server there, or none
//! dhcp eth0 held 62                                       a switch forwards nothing for this many seconds
//! dhcp eth0 full MAC                                      our server has no address for this board
//! neighbour eth0 192.168.50.77 MAC [old] [gone]           an entry of the neighbour table; [old]: not confirmed lately
//! lease MAC 192.168.50.101 [named rpi1] [for 1h] [gone]   our server's
//! says MAC raspberrypi                                    the host name in a board's DHCP request
//! boots 192.168.50.11 /srv/tftp/bootcode.bin              a file was sent to a node
//! conntrack 900 of 1000
//! neighbours 970 of 1024
//! resolvers eth1 10.99.0.1
//! way-out eth1 | way-out none
//! host bramble 22 2222 [announced]                        name, ports of sshd; by multicast DNS
//! all up | all silent                                     one round of every node
//! head 48C load 0.30 memory 62 disk 83 [sags] [slow]      the head's vitals; [read-only] [clockless]
//! power pressed | power released                          the power button
//! acknowledge                                             a user acknowledges all current alerts
//! fails firewall: a message | well firewall | well led: 8 absent lcd: a message
//! unkept: a message                                       the ports are set, their record could not be written
//! well firewall: adopted | well lcd: blind
//! reload | stop | restart | power-off | reboot
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use bramblegate::decide::ROUTE_PROTOCOL;
use bramblegate::event::{
    Acquisition, Address, Anycast, Applied, ApplyError, ApplyErrorKind, ApplyReport, Blocker,
    Button, Change, Conflict, Delegated, Dhcp, Disk, Dropped, Dump, Event, Firewall, Head, Lease,
    Link, LinkIndex, Mac, Neighbour, Netconf, Order, Output, Path, PortalSource, PortalUrl, Probe,
    Reachability, Report, Round, Route, RouterOffer, ServerLog, ServerLogKind, ShareSeen, Stop,
    Traffic, UplinkNews, VenueNews, Vital, Web,
};
use bramblegate::facts::node::Nodes;
use ipnet::IpNet;

use crate::file::duration;

/// Maps interface names to indices.
#[derive(Default)]
pub struct Reader {
    links: BTreeMap<String, Link>,
    present: BTreeSet<LinkIndex>,
}

type Result<T> = std::result::Result<T, String>;

impl Reader {
    /// Returns the events of a moment.
    pub fn events(&mut self, text: &str, nodes: &Nodes) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for line in
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (line, times) = match line.rsplit_once(" x ") {
                Some((line, times)) => {
                    (line, times.parse().map_err(|_| format!("{times:?} times?"))?)
                }
                None => (line, 1),
            };
            let event = self.event(line, nodes).map_err(|error| format!("{line:?}: {error}"))?;
            // The kernel's message of a link has its settings: nothing is forwarded yet.
            let settings = match &event {
                Event::Link(Change::Present(link)) => self.present.insert(link.index).then(|| {
                    Event::Netconf(Netconf {
                        index: link.index,
                        forwarding: Some(false),
                        ..Netconf::default()
                    })
                }),
                Event::Link(Change::Gone(link)) => {
                    self.present.remove(&link.index);
                    None
                }
                _ => None,
            };
            events.extend(settings);
            events.extend(std::iter::repeat_n(event, times));
        }
        Ok(events)
    }

    fn event(&mut self, line: &str, nodes: &Nodes) -> Result<Event> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = Words::new(rest);
        let event = match verb {
            "listing" => Event::Dump(Dump::Begin),
            "listed" => Event::Dump(Dump::End),
            "overrun" => Event::Overrun,
            "tick" => Event::Tick,
            "reload" => Event::Reload,
            "stop" => Event::Stop(Stop::Terminated),
            "restart" => Event::Stop(Stop::Restart),
            "power-off" => Event::Stop(Stop::PowerOff),
            "reboot" => Event::Stop(Stop::Reboot),
            "link" => Event::Link(self.link(&mut words)?),
            "address" => Event::Address(self.address(&mut words)?),
            "route" => Event::Route(self.route(&mut words)?),
            "anycast" => {
                let held = Anycast { index: self.index(words.next()?)?, address: words.parse()? };
                let gone = words.flag("gone");
                Event::Anycast(if gone { Change::Gone(held) } else { Change::Present(held) })
            }
            "kept" => Event::Vital(Vital::Ipv6 {
                kept: Some(words.parse()?),
                forwarding_before: words.flag("forwarded"),
            }),
            "delegated" => {
                let prefix = Delegated(words.parse()?);
                let gone = words.flag("gone");
                Event::Delegated(if gone { Change::Gone(prefix) } else { Change::Present(prefix) })
            }
            "forwarding" => {
                let index = self.index(words.next()?)?;
                let forwarding = Some(words.choice(&[("on", true), ("off", false)])?);
                Event::Netconf(Netconf { index, forwarding, ..Netconf::default() })
            }
            "ip-forward" => {
                let forwarding = Some(words.choice(&[("on", true), ("off", false)])?);
                Event::Netconf(Netconf { index: Netconf::ALL, forwarding, ..Netconf::default() })
            }
            "internet" => Event::Probe(self.internet(&mut words)?),
            "portal" | "asks" => Event::Uplink(self.uplink_news(verb, &mut words)?),
            "advertises" | "synthesises" | "answers" => {
                Event::Venue(self.venue_news(verb, &mut words)?)
            }
            "head" => Event::Vital(Vital::Head(head(&mut words)?)),
            "power" => {
                let held = words.choice(&[("pressed", true), ("released", false)])?;
                Event::Button(Button::Power { held })
            }
            "shutdown" => Event::Order(Order::Shutdown(shutdown(&mut words)?)),
            "acknowledge" => Event::Order(Order::Acknowledge),
            "all" => Event::Probe(all(&mut words, nodes)?),
            "node" => Event::Probe(node(&mut words, nodes)?),
            "denied" | "allowed" => Event::Probe(Probe::Denied {
                probe: words.next()?.to_owned(),
                denied: verb == "denied",
            }),
            "unkept:" => Event::Applied(ApplyReport {
                output: Output::Link,
                result: Ok(Applied::Link { unkept: Some(words.take_rest().to_owned()) }),
            }),
            "untaken" => Event::Vital(Vital::Conflicts(Vec::new())),
            "taken" => {
                let port = self.index(words.next()?)?;
                let address = words.parse()?;
                let by = words.next()?.parse().map_err(|()| "no hardware address".to_owned())?;
                Event::Vital(Vital::Conflicts(vec![Conflict { port, address, by }]))
            }
            "resolvers" | "way-out" | "conntrack" | "neighbours" | "host" => {
                Event::Vital(self.vital(verb, &mut words)?)
            }
            "web" => Event::Web(match words.next()? {
                "absent" => Web::Absent,
                port => Web::Listens(parse(port)?),
            }),
            "share" => Event::Share(share(&mut words)?),
            "dhcp" => Event::Dhcp(self.dhcp(&mut words)?),
            "says" => {
                let mac = words.next()?.parse().map_err(|()| "no hardware address".to_owned())?;
                Event::Dhcp(Dhcp::CallsItself { mac, name: words.next()?.to_owned() })
            }
            "boots" => {
                Event::Dhcp(Dhcp::Boots { address: words.parse()?, file: words.next()?.to_owned() })
            }
            "neighbour" => Event::Neighbour(self.neighbour(&mut words)?),
            "lease" => Event::Lease(lease(&mut words)?),
            "flushed" | "blocked" | "unblocked" | "passed" | "dropped" | "cut" | "uncut" => {
                Event::Firewall(firewall(verb, &mut words)?)
            }
            "fails" | "absent" | "well" => Event::Applied(report(verb, &mut words)?),
            _ => return Err("no such event".to_owned()),
        };
        if words.rest().is_empty() {
            Ok(event)
        } else {
            Err(format!("what is {:?}?", words.rest()))
        }
    }

    fn index(&self, name: &str) -> Result<LinkIndex> {
        self.links
            .get(name)
            .map(|link| link.index)
            .ok_or_else(|| format!("no port {name:?} was named yet"))
    }

    fn link(&mut self, words: &mut Words<'_>) -> Result<Change<Link>> {
        let first = words.next()?;
        let (index, name) = match first.parse() {
            Ok(index) => (index, words.next()?),
            Err(_) => (self.index(first)?, first),
        };
        if words.flag("gone") {
            let link = self.links.get(name).cloned().ok_or("it never was")?;
            return Ok(Change::Gone(link));
        }
        let master = words.after("in")?.map(|master| self.index(master)).transpose()?;
        let parent = words.after("on")?.map(|parent| self.index(parent)).transpose()?;
        let link = Link {
            index,
            name: name.to_owned(),
            alternative_names: Vec::new(),
            mac: words
                .after("mac")?
                .map(|mac| mac.parse().map_err(|()| format!("{mac:?} is no MAC")))
                .transpose()?,
            up: !words.flag("down"),
            carrier: words.flag("cable"),
            loopback: name == "lo",
            wireless: words.flag("radio"),
            master,
            kind: words.after("kind")?.map(str::to_owned),
            parent,
            mtu: 1500,
        };
        self.links.insert(name.to_owned(), link.clone());
        Ok(Change::Present(link))
    }

    fn address(&self, words: &mut Words<'_>) -> Result<Change<Address>> {
        let index = self.index(words.next()?)?;
        let address: IpNet = words.parse()?;
        let link_local = match address {
            IpNet::V4(net) => net.addr().is_link_local(),
            IpNet::V6(net) => net.addr().is_unicast_link_local(),
        };
        let gone = words.flag("gone");
        let held = Address {
            index,
            address,
            tentative: words.flag("tentative"),
            deprecated: words.flag("deprecated"),
            temporary: words.flag("temporary"),
            link_local,
            valid_for: words.after("for")?.map(duration).transpose()?,
            protocol: if words.flag("ours") { ROUTE_PROTOCOL } else { 0 },
        };
        Ok(if gone { Change::Gone(held) } else { Change::Present(held) })
    }

    fn route(&self, words: &mut Words<'_>) -> Result<Change<Route>> {
        let index = self.index(words.next()?)?;
        let destination = words.next()?;
        let gone = words.flag("gone");
        let gateway = words.after("via")?.map(parse).transpose()?;
        let six = matches!(gateway, Some(std::net::IpAddr::V6(_)));
        let route = Route {
            table: words.after("table")?.map_or(Ok(254), parse)?,
            destination: match destination {
                "default" => parse(if six { "::/0" } else { "0.0.0.0/0" })?,
                net => parse(net)?,
            },
            gateway,
            index,
            metric: words.after("metric")?.map_or(Ok(0), parse)?,
            // RTPROT_DHCP.
            protocol: words.after("proto")?.map_or(Ok(16), parse)?,
            onlink: words.flag("onlink"),
            preferred_source: words.after("src")?.map(parse).transpose()?,
            mtu: words.after("mtu")?.map(parse).transpose()?,
        };
        Ok(if gone { Change::Gone(route) } else { Change::Present(route) })
    }

    fn internet(&self, words: &mut Words<'_>) -> Result<Probe> {
        let index = self.index(words.next()?)?;
        let kinds = [
            ("online", Reachability::Online),
            ("portal", Reachability::Portal),
            ("nothing", Reachability::Nothing),
        ];
        Ok(Probe::Uplink { index, reachability: words.choice(&kinds)? })
    }

    fn uplink_news(&self, verb: &str, words: &mut Words<'_>) -> Result<UplinkNews> {
        let index = self.index(words.next()?)?;
        if verb == "portal" {
            let (lease, router) = (words.flag("lease"), words.flag("router"));
            let by = match (lease, router) {
                (true, _) => PortalSource::Lease,
                (_, true) => PortalSource::Router,
                _ => PortalSource::Probe,
            };
            return Ok(UplinkNews::Portal { index, by, url: PortalUrl::read(words.next()?) });
        }
        let state = match words.next()? {
            "no-client" => Acquisition::NoClient,
            "waiting" => Acquisition::Waiting,
            "unanswered" => Acquisition::Unanswered,
            "declined" => Acquisition::Declined,
            "offered" => Acquisition::Offered { server: words.parse()? },
            "ipv6-only" => Acquisition::Ipv6Only { server: words.parse()? },
            "refused" => Acquisition::Refused { server: words.parse()? },
            other => return Err(format!("how far is {other:?}?")),
        };
        Ok(UplinkNews::Acquisition { index, state: Some(state) })
    }

    /// Parses `advertises eth1 fe80::1 for 1800s slaac nat64 64:ff9b::/96 lasting 600s`.
    fn venue_news(&self, verb: &str, words: &mut Words<'_>) -> Result<VenueNews> {
        let index = self.index(words.next()?)?;
        if verb == "synthesises" {
            return Ok(VenueNews::Synthesised { index, prefixes: words.all()? });
        }
        if verb == "answers" {
            let path = match words.next()? {
                "ipv4" => Path::Ipv4,
                "ipv6" => Path::Ipv6,
                "translator" => Path::Translator,
                prefix => Path::Nat64(parse(prefix)?),
            };
            let kinds = [
                ("online", Reachability::Online),
                ("portal", Reachability::Portal),
                ("nothing", Reachability::Nothing),
            ];
            return Ok(VenueNews::Answers { index, path, reachability: words.choice(&kinds)? });
        }
        let router = words.parse()?;
        let seconds =
            |text: &str| Ok::<_, String>(duration(text)?.as_secs().try_into().unwrap_or(0));
        let nat64 = words.after("nat64")?.map(parse).transpose()?;
        let lasts = words.after("lasting")?.map_or(Ok(600), seconds)?;
        let offer = RouterOffer {
            lifetime: words.after("for")?.map_or(Ok(1800), seconds)?,
            managed: words.flag("managed"),
            other: words.flag("other"),
            autonomous: words.flag("slaac"),
            mtu: words.after("mtu")?.map(parse).transpose()?,
            nat64: nat64.map(|prefix| (prefix, lasts)).into_iter().collect(),
        };
        Ok(VenueNews::Advertised { index, router, offer })
    }

    fn neighbour(&self, words: &mut Words<'_>) -> Result<Change<Neighbour>> {
        let (gone, old) = (words.flag("gone"), words.flag("old"));
        let (index, address, mac) = (self.index(words.next()?)?, words.parse()?, Some(mac(words)?));
        let reported = Neighbour { index, address, mac, reachable: !gone && !old };
        Ok(if gone { Change::Gone(reported) } else { Change::Present(reported) })
    }

    fn dhcp(&self, words: &mut Words<'_>) -> Result<Dhcp> {
        let index = self.index(words.next()?)?;
        Ok(match words.next()? {
            "alone" => Dhcp::NoOtherServer { index },
            "foreign" => {
                let server = words.parse()?;
                let mac = words.next()?.parse().map_err(|()| "no hardware address".to_owned())?;
                Dhcp::OtherServer { index, server, mac: Some(mac) }
            }
            "held" => Dhcp::Held { index, seconds: words.parse()? },
            "full" => {
                let (mac, what) = (mac(words)?, ServerLogKind::Exhausted);
                let text = format!("there is no address left for {mac}: widen cluster.dhcp.range");
                Dhcp::ServerLog(ServerLog { what, text, mac: Some(mac), address: None })
            }
            other => return Err(format!("{other:?}?")),
        })
    }

    fn vital(&self, verb: &str, words: &mut Words<'_>) -> Result<Vital> {
        Ok(match verb {
            "resolvers" => {
                let port = words.next()?;
                let index = if port == "machine" { 0 } else { self.index(port)? };
                Vital::Resolvers { index, servers: words.all()? }
            }
            "way-out" => {
                let port = words.next()?;
                Vital::Egress { index: if port == "none" { None } else { Some(self.index(port)?) } }
            }
            "conntrack" => {
                let count = words.parse()?;
                let max = words.after("of")?.ok_or("of how many?").map(parse)??;
                Vital::Conntrack { count, max }
            }
            "neighbours" => {
                let count = words.parse()?;
                let max = words.after("of")?.ok_or("of how many?").map(parse)??;
                Vital::Neighbours { count, max }
            }
            _ => {
                let announced = words.flag("announced");
                Vital::Host { name: words.next()?.to_owned(), ssh_ports: words.all()?, announced }
            }
        })
    }
}

fn head(words: &mut Words<'_>) -> Result<Head> {
    let degrees = words.next()?;
    let percent = |text: Option<&str>| text.map(parse).transpose();
    let load: Option<f64> = words.after("load")?.map(parse).transpose()?;
    Ok(Head {
        temperature: Some(parse(degrees.trim_end_matches('C'))?),
        load: load.map(|load| (load * 100.0) as u32),
        memory: percent(words.after("memory")?)?,
        disk: percent(words.after("disk")?)?,
        under_voltage: Some(words.flag("sags")),
        throttled: Some(words.flag("slow")),
        read_only: Some(words.flag("read-only")),
        clock_set: Some(!words.flag("clockless")),
        ..Head::default()
    })
}

/// Parses the state of the only shared disk: "share /mnt/usb free 40 exported"; "share /mnt/usb
/// pulled", "share missing".
fn share(words: &mut Words<'_>) -> Result<ShareSeen> {
    let mut seen = ShareSeen { installed: !words.flag("no-server"), ..ShareSeen::default() };
    seen.clients.extend(words.after("from")?.map(parse::<Ipv4Addr>).transpose()?);
    if words.flag("missing") {
        return Ok(seen);
    }
    let path = PathBuf::from(words.next()?);
    if words.flag("pulled") {
        seen.pulled.insert(path);
        return Ok(seen);
    }
    let disk = Disk {
        free: words.after("free")?.map(parse).transpose()?,
        read_only: words.flag("read-only"),
        errors: words.after("errors")?.map_or(Ok(0), parse)?,
    };
    if words.flag("exported") {
        seen.exported.insert(path.clone());
    }
    seen.disks.insert(path, disk);
    Ok(seen)
}

fn mac(words: &mut Words<'_>) -> Result<Mac> {
    let mac = words.next()?;
    mac.parse().map_err(|()| format!("{mac:?} is no MAC"))
}

fn lease(words: &mut Words<'_>) -> Result<Change<Lease>> {
    let gone = words.flag("gone");
    let host_name = words.after("named")?.map(str::to_owned);
    let valid_for = words.after("for")?.map(duration).transpose()?;
    let lease = Lease { mac: mac(words)?, address: words.parse()?, host_name, valid_for };
    Ok(if gone { Change::Gone(lease) } else { Change::Present(lease) })
}

/// Returns one round of every node.
fn all(words: &mut Words<'_>, nodes: &Nodes) -> Result<Probe> {
    let up = words.choice(&[("up", true), ("silent", false)])?;
    let rtt = up.then(|| Duration::from_micros(300));
    Ok(Probe::Nodes(
        nodes.iter().map(|node| Round { node: node.id, rtt, first_lost: !up }).collect(),
    ))
}

fn shutdown(words: &mut Words<'_>) -> Result<Report> {
    let left_s = words.parse()?;
    let mut names = |after| -> Result<Vec<String>> {
        let names = words.after(after)?.unwrap_or_default();
        Ok(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    };
    let (waiting, going, staying) = (names("up")?, names("going")?, names("staying")?);
    let (head, ended) = (words.flag("head"), words.flag("ended"));
    Ok(Report { ended, going, head, left_s, staying, waiting_total: waiting.len(), waiting })
}

fn node(words: &mut Words<'_>, nodes: &Nodes) -> Result<Probe> {
    let name = words.next()?;
    let node = nodes.by_name(name).ok_or_else(|| format!("there is no node {name}"))?.id;
    let rtt = match words.next()? {
        "silent" => None,
        rtt => Some(duration(rtt)?),
    };
    let first_lost = rtt.is_none() || words.flag("retried");
    Ok(Probe::Nodes(vec![Round { node, rtt, first_lost }]))
}

fn firewall(verb: &str, words: &mut Words<'_>) -> Result<Firewall> {
    Ok(match verb {
        "flushed" => {
            let by = words.take_rest();
            Firewall::Disturbed { by: by.strip_prefix("by ").map(str::to_owned) }
        }
        "passed" => Firewall::Counters { forwarded: words.parse()?, postrouted: words.parse()? },
        "dropped" => {
            let (packets, rest) = words.take_rest().split_once(" by ").ok_or("PACKETS by RULE")?;
            let packets = parse(packets)?;
            let (purpose, example) = match rest.split_once(" as ") {
                Some((purpose, example)) => (purpose, Some(parse(example)?)),
                None => (rest, None),
            };
            Firewall::Dropped(vec![Dropped {
                purpose: format!("bramblegate: {purpose}"),
                packets,
                example,
            }])
        }
        "unblocked" => Firewall::Blocked(None),
        "uncut" => Firewall::BlockedTraffic(Vec::new()),
        "cut" => {
            let (what, by) =
                words.take_rest().split_once(' ').ok_or("cut WHAT TABLE CHAIN: REMEDY")?;
            let traffic = what.split(',').map(traffic).collect::<Result<Vec<_>>>()?;
            let blocker = blocker(by)?;
            Firewall::BlockedTraffic(
                traffic.into_iter().map(|traffic| (traffic, blocker.clone())).collect(),
            )
        }
        _ => Firewall::Blocked(Some(blocker(words.take_rest())?)),
    })
}

fn blocker(text: &str) -> Result<Blocker> {
    let (place, remedy) = text.split_once(": ").ok_or("no remedy: TABLE CHAIN: REMEDY")?;
    let (table, chain) = place.rsplit_once(' ').ok_or("TABLE CHAIN")?;
    let (table, chain) = (Some(table.to_owned()), Some(chain.to_owned()));
    Ok(Blocker { table, chain, remedy: remedy.to_owned() })
}

fn traffic(word: &str) -> Result<Traffic> {
    Ok(match word {
        "addresses" => Traffic::Addresses,
        "names" => Traffic::Names,
        "ssh" => Traffic::Venue { protocol: 6, port: 22 },
        _ => return Err(format!("what is {word}?")),
    })
}

fn report(verb: &str, words: &mut Words<'_>) -> Result<ApplyReport> {
    let rest = words.take_rest();
    let (name, message) = rest.split_once(": ").unwrap_or((rest, ""));
    let output = match name {
        "link" => Output::Link,
        "firewall" => Output::Firewall,
        "routing" => Output::Routing,
        "lcd" => Output::Display,
        "led" => Output::Indicator,
        _ => return Err(format!("which output is {name:?}?")),
    };
    let kind = if verb == "absent" { ApplyErrorKind::Absent } else { ApplyErrorKind::Failed };
    let result = if verb == "well" {
        Ok(match output {
            Output::Firewall => Applied::Firewall {
                masquerade: true,
                owned: true,
                flow_table: None,
                rejects: None,
                adopted: message == "adopted",
            },
            Output::Display => {
                let (bytes, bus_time, lit) = (0, Duration::ZERO, true);
                Applied::Display {
                    lines: Vec::new(),
                    bytes,
                    bus_time,
                    lit,
                    blind: message == "blind",
                }
            }
            Output::Indicator => {
                let leds = if message.is_empty() { 1 } else { parse(message)? };
                Applied::Indicator { leds, name: "emulator".to_owned() }
            }
            _ => Applied::Done,
        })
    } else {
        Err(ApplyError { kind, message: message.to_owned() })
    };
    Ok(ApplyReport { output, result })
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| format!("{text:?} does not read"))
}

/// The words of a line, taken from the front; flags and pairs from anywhere.
struct Words<'a> {
    words: Vec<&'a str>,
    line: &'a str,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        Self { words: line.split_whitespace().collect(), line }
    }

    fn next(&mut self) -> Result<&'a str> {
        if self.words.is_empty() {
            Err("a word is missing".to_owned())
        } else {
            Ok(self.words.remove(0))
        }
    }

    fn parse<T: std::str::FromStr>(&mut self) -> Result<T> {
        parse(self.next()?)
    }

    fn choice<T: Copy>(&mut self, known: &[(&str, T)]) -> Result<T> {
        let word = self.next()?;
        let found = known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        found.ok_or_else(|| {
            format!(
                "{word:?} is none of {:?}",
                known.iter().map(|(name, _)| name).collect::<Vec<_>>()
            )
        })
    }

    fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| *word != name);
        before != self.words.len()
    }

    fn after(&mut self, name: &str) -> Result<Option<&'a str>> {
        let Some(at) = self.words.iter().position(|word| *word == name) else { return Ok(None) };
        self.words.remove(at);
        if at < self.words.len() {
            Ok(Some(self.words.remove(at)))
        } else {
            Err(format!("{name} what?"))
        }
    }

    fn all<T: std::str::FromStr>(&mut self) -> Result<Vec<T>> {
        std::mem::take(&mut self.words).into_iter().map(parse).collect()
    }

    fn take_rest(&mut self) -> &'a str {
        self.words.clear();
        self.line
    }

    fn rest(&self) -> String {
        self.words.join(" ")
    }
}
