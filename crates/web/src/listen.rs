//! Listening sockets, own and inherited (sd_listen_fds(3)), and the file from which the daemon
//! reads the port.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bramblegate_config::WebAddress;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// The limit of pending connections, as in Rust's standard library: a flood could fill a longer
/// queue before other clients.
const BACKLOG: i32 = 128;

/// Returns a listener on the first free address.
///
/// # Errors
/// None is free; the text names the reason for each.
pub fn first_free(addresses: &[WebAddress]) -> Result<TcpListener, String> {
    let mut refused = Vec::new();
    for address in addresses {
        match listen(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused.push(format!("port {}: {error}", address.port())),
        }
    }
    Err(format!("no port to listen on ({})", refused.join("; ")))
}

fn listen(address: WebAddress) -> io::Result<TcpListener> {
    match address {
        WebAddress::At(address) => bind(address),
        WebAddress::Port(port) => {
            bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                // The kernel has no IPv6.
                _ => bind((Ipv4Addr::UNSPECIFIED, port).into()),
            })
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Both families for `::`, whatever net.ipv6.bindv6only is.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Returns the sockets that the service manager, or the demo, passed to this process. Call it once.
///
/// # Errors
/// One is not a listening TCP socket.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for descriptor in sd_notify::listen_fds()? {
        // SAFETY: the parent process opened the descriptor for this one (sd_listen_fds(3)), and
        // nothing else here owns it.
        let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let socket = Socket::from(owned);
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::other("what was handed over is no listening socket"));
        }
        socket.set_nonblocking(true)?;
        listeners.push(TcpListener::from_std(socket.into())?);
    }
    Ok(listeners)
}

/// The file that holds the port; dropping this removes it.
#[derive(Debug)]
pub struct PortFile(PathBuf);

impl PortFile {
    /// Writes the port, atomically.
    ///
    /// # Errors
    /// The folder does not exist, or belongs to another user.
    pub fn write(path: &Path, port: u16) -> io::Result<Self> {
        let new = path.with_extension("new");
        fs::write(&new, format!("{port}\n"))?;
        // The daemon runs as another user.
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
        fs::rename(&new, path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PortFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_free_address_is_used_and_both_families_answer() {
        let taken = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let taken = taken.local_addr().unwrap();
        let free = WebAddress::At((Ipv4Addr::LOCALHOST, 0).into());
        let listener = first_free(&[WebAddress::At(taken), free]).unwrap();
        assert_ne!(listener.local_addr().unwrap().port(), taken.port());
        let refused = first_free(&[WebAddress::At(taken)]).unwrap_err();
        assert!(refused.contains(&format!("port {}: ", taken.port())), "{refused}");
        let everywhere = listen(WebAddress::Port(0)).unwrap();
        let port = everywhere.local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }

    #[test]
    fn the_port_file_exists_while_it_is_held() {
        let folder = std::env::temp_dir().join(format!("web-port-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("port");
        let held = PortFile::write(&path, 8080).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "8080\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        drop(held);
        assert!(!path.exists());
        fs::remove_dir(&folder).unwrap();
        assert!(PortFile::write(&path, 80).is_err());
    }
}
