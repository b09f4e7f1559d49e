//! Small servers and clients that run as separate processes in the world's namespaces: this same
//! program, started with `venue-serve`, `venue-try` and the like.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use super::{Error, Result, router, while_doing};
use bramblegate::dns;

const PATIENCE: Duration = Duration::from_millis(1500);

/// Runs one of these helpers, if `arguments` (without the program's name) name one.
pub fn helper(arguments: &[String]) -> Option<ExitCode> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["venue-serve", kind, listen] => serve(kind, listen),
        ["venue-advertise", port, words] => advertise(port, words),
        ["venue-anycast", port, address] => hold_anycast(port, address),
        ["venue-try", "tcp", target, resolver] => try_tcp(target, resolver),
        ["venue-try", "udp", target] => try_udp(target),
        ["venue-try", "talk", target, seconds] => talk(target, seconds),
        ["venue-try", "http", url, status, resolver] => try_http(url, status, resolver),
        ["venue-try", "name", name, resolver] => resolve(name, resolver).map(drop),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// Serves until killed: `web` (the internet), `portal` (redirects everything), `banner` (sends the
/// banner of an SSH server), `echo`, `udp-echo`.
fn serve(kind: &str, listen: &str) -> Result<()> {
    if kind == "udp-echo" {
        return echo_datagrams(listen);
    }
    let listener =
        TcpListener::bind(listen).map_err(while_doing(format!("cannot listen on {listen}")))?;
    println!("ready on {listen}");
    let kind = kind.to_owned();
    for stream in listener.incoming().flatten() {
        let kind = kind.clone();
        std::thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
            let _ = answer(&kind, stream);
        });
    }
    Ok(())
}

fn advertise(port: &str, words: &str) -> Result<()> {
    router::advertise(port, index_of(port)?, &words.parse()?)
}

fn index_of(port: &str) -> Result<u32> {
    let file = format!("/sys/class/net/{port}/ifindex");
    let index = std::fs::read_to_string(&file).map_err(while_doing(&file))?;
    index.trim().parse().map_err(while_doing(&file))
}

/// Holds an IPv6 anycast address on a port until killed, as NetworkManager does for its translator.
/// The kernel accepts it only if the port has an address of that network, which is waited for.
fn hold_anycast(port: &str, address: &str) -> Result<()> {
    let held: Ipv6Addr = address.parse().map_err(while_doing(address))?;
    let request = libc::ipv6_mreq {
        ipv6mr_multiaddr: libc::in6_addr { s6_addr: held.octets() },
        ipv6mr_interface: index_of(port)?,
    };
    let socket = UdpSocket::bind("[::]:0").map_err(while_doing("socket"))?;
    let length = libc::socklen_t::try_from(size_of_val(&request)).map_err(while_doing(address))?;
    loop {
        // SAFETY: the kernel reads `length` octets, the size of the structure.
        let refused = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IPV6,
                libc::IPV6_JOIN_ANYCAST,
                (&raw const request).cast(),
                length,
            )
        };
        if refused == 0 {
            println!("ready");
            loop {
                std::thread::park();
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn echo_datagrams(listen: &str) -> Result<()> {
    let socket =
        UdpSocket::bind(listen).map_err(while_doing(format!("cannot listen on {listen}")))?;
    println!("ready on {listen}");
    let mut buffer = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).map_err(while_doing(listen))?;
        // The sender may be gone by now.
        let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
    }
}

fn answer(kind: &str, mut stream: TcpStream) -> std::io::Result<()> {
    if kind == "banner" {
        stream.write_all(b"SSH-2.0-venue\r\n")?;
        return stream.read(&mut [0; 64]).map(drop);
    }
    if kind == "echo" {
        return std::io::copy(&mut stream.try_clone()?, &mut stream).map(drop);
    }
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or("/");
    if kind == "portal" {
        let head =
            "HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\nContent-Length: 0\r\n";
        return write!(stream, "{head}Connection: close\r\n\r\n");
    }
    if path.ends_with("generate_204") {
        return stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }
    let body = if path.ends_with("big") { vec![b'x'; 200_000] } else { b"hello\n".to_vec() };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

fn try_tcp(target: &str, resolver: &str) -> Result<()> {
    let nothing = || Error(format!("{target} is no HOST:PORT"));
    let address = match target.parse() {
        Ok(address) => address,
        Err(_) => {
            let (name, port) = target.rsplit_once(':').ok_or_else(nothing)?;
            SocketAddr::new(resolve(name, resolver)?, port.parse().map_err(|_| nothing())?)
        }
    };
    TcpStream::connect_timeout(&address, PATIENCE).map(drop).map_err(while_doing(target))
}

/// Sends one datagram and waits for its echo.
fn try_udp(target: &str) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(while_doing("socket"))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(while_doing("socket"))?;
    socket.connect(target).map_err(while_doing(target))?;
    socket.send(b"hello").map_err(while_doing(target))?;
    socket.recv(&mut [0; 16]).map(drop).map_err(while_doing(target))
}

/// Holds one connection for `seconds`, which sends something every 50 ms and expects its echo
/// within [`PATIENCE`].
fn talk(target: &str, seconds: &str) -> Result<()> {
    let address: SocketAddr =
        target.parse().map_err(|_| Error(format!("{target} is no ADDRESS:PORT")))?;
    let rounds = seconds.parse::<u32>().map_err(while_doing(seconds))? * 20;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(while_doing(target))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(while_doing("socket"))?;
    for round in 0..rounds {
        let sent = round.to_be_bytes();
        let mut heard = [0; 4];
        let broken = || format!("round {round} of {rounds}");
        stream.write_all(&sent).map_err(while_doing(broken()))?;
        stream.read_exact(&mut heard).map_err(while_doing(broken()))?;
        if heard != sent {
            return Err(Error(format!("{}: heard {heard:?}", broken())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn try_http(url: &str, status: &str, resolver: &str) -> Result<()> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address: IpAddr = match host.trim_matches(['[', ']']).parse() {
        Ok(address) => address,
        Err(_) => resolve(host, resolver)?,
    };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, 80), PATIENCE)
        .map_err(while_doing(format!("{address}:80")))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(while_doing("socket"))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        .map_err(while_doing(url))?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .map_err(while_doing(format!("{url} after {} bytes", answer.len())))?;
    let text = String::from_utf8_lossy(&answer);
    let first = text.lines().next().unwrap_or("").to_owned();
    if first.split(' ').nth(1) == Some(status) {
        Ok(())
    } else {
        Err(Error(format!("{url} answers {first}")))
    }
}

/// DNS message ID of our queries.
const ID: u16 = 0x6272;

/// Resolves `name` to its first IPv4 address by `resolver`; if that is empty, by those in
/// `/etc/resolv.conf`.
fn resolve(name: &str, resolver: &str) -> Result<IpAddr> {
    if resolver.is_empty() {
        use std::net::ToSocketAddrs;
        let mut found = (name, 80).to_socket_addrs().map_err(while_doing(name))?;
        return found
            .next()
            .map(|address| address.ip())
            .ok_or_else(|| Error(format!("{name} has no address")));
    }
    let server: IpAddr =
        resolver.parse().map_err(|_| Error(format!("{resolver} is no resolver's address")))?;
    let question =
        dns::query(ID, name, false).ok_or_else(|| Error(format!("{name} is no name")))?;
    let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).map_err(while_doing("socket"))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(while_doing("socket"))?;
    socket.connect((server, 53)).map_err(while_doing(server))?;
    socket.send(&question).map_err(while_doing(server))?;
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).map_err(while_doing(format!("resolver {server}")))?;
    let found = buffer.get(..length).and_then(|answer| dns::addresses(answer, &question));
    let found = found.unwrap_or_default();
    found
        .into_iter()
        .find(IpAddr::is_ipv4)
        .ok_or_else(|| Error(format!("{server} has no address of {name}")))
}
