//! The roles of the test program inside a namespace: UDP client and server, HTTP client and server.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const ECHO: u16 = 7777;
const PAGE: u16 = 8080;
const TEXT: &str = "a page of the internet";

pub fn play(what: &str) -> usize {
    let words: Vec<&str> = what.split(' ').collect();
    match words[..] {
        ["echo", address] => echo(address.parse().unwrap()),
        ["page"] => page(),
        ["get", address] => usize::from(!get(address.parse().unwrap())),
        ["ask", address, size] => {
            usize::from(!ask(address.parse().unwrap(), size.parse().unwrap()))
        }
        ["bare", address, size] => {
            usize::from(!bare(address.parse().unwrap(), size.parse().unwrap()))
        }
        _ => panic!("no role: {what}"),
    }
}

/// Returns each datagram, from the address that it was sent to.
fn echo(address: IpAddr) -> ! {
    let socket = UdpSocket::bind((address, ECHO)).expect("a port");
    let mut buffer = vec![0; 65536];
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
}

fn page() -> ! {
    let listener = TcpListener::bind(("::", PAGE)).expect("a port");
    loop {
        let Ok((mut stream, _)) = listener.accept() else { continue };
        let mut request = [0; 512];
        let _ = stream.read(&mut request);
        let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{TEXT}\n");
    }
}

fn get(address: Ipv4Addr) -> bool {
    let address = SocketAddr::from((address, PAGE));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(3)) else {
        return false;
    };
    let mut text = String::new();
    let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    let _ = stream.read_to_string(&mut text);
    text.contains(TEXT)
}

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 31 + size) as u8).collect()
}

/// Sends a datagram, with retries like an ordinary program, and returns whether the whole answer
/// came back.
fn ask(address: Ipv4Addr, size: usize) -> bool {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
    socket.connect((address, ECHO)).expect("a way");
    socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let (question, mut answer) = (payload(size), vec![0; 65536]);
    (0..4).any(|_| {
        let _ = socket.send(&question);
        socket.recv(&mut answer).is_ok_and(|length| answer[..length] == question)
    })
}

/// Does the same with a self-made header, without a checksum.
fn bare(address: Ipv4Addr, size: usize) -> bool {
    let ear = UdpSocket::bind("0.0.0.0:40123").expect("a port");
    ear.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).expect("root");
    let (question, mut answer) = (payload(size), vec![0; 65536]);
    let mut datagram = Vec::new();
    for field in [40123, ECHO, size as u16 + 8, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(&question);
    (0..4).any(|_| {
        let to = SocketAddrV4::new(address, 0);
        raw.send_to(&datagram, &to.into()).expect("sent");
        // A raw socket receives each answer too, and nothing else reads it.
        let until = Instant::now() + Duration::from_millis(400);
        let mut unread = [MaybeUninit::<u8>::uninit(); 1];
        raw.set_nonblocking(true).unwrap();
        while raw.recv(&mut unread).is_ok() && Instant::now() < until {}
        ear.recv(&mut answer).is_ok_and(|length| answer[..length] == question)
    })
}
