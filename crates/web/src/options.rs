//! Options, from the command line and the settings; the command line takes precedence.

use std::net::SocketAddr;
use std::path::PathBuf;

use bramblegate_config::{Fault, Public, Settings, Transport, WebAddress};
use bramblegate_files::settings as files;
use clap::Parser;
use ipnet::IpNet;

use crate::host::Names;

/// Serves the status page of this head node.
#[derive(Debug, Clone, Parser)]
#[command(name = "bramblegate-web", version)]
pub struct Args {
    /// Settings file; FILE.d/*.toml are read after it. Without it $BRAMBLEGATE_CONFIG, else
    /// /etc/bramblegate/bramblegate.toml, unless --listen and --status are given
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on; may be given more than once, the first that is free is taken
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddr>,
    /// The daemon's status socket
    #[arg(long, value_name = "SOCKET")]
    pub status: Option<PathBuf>,
    /// The daemon's control socket, for orders of those who log in
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    /// File with the password's hash (bramblegate web password writes it)
    #[arg(long, value_name = "FILE", default_value = "/etc/bramblegate/web.password")]
    pub password: PathBuf,
    /// Network whose computers may log in, beside the head itself; may be given more than once
    #[arg(long, value_name = "NETWORK")]
    pub admin_from: Vec<IpNet>,
    /// What is shown without a log-in: full, summary or off
    #[arg(long, value_name = "WHAT", value_parser = public)]
    pub public: Option<Public>,
    /// Up to so many nodes are series of their own in /metrics; above that groups alone
    #[arg(long, value_name = "NUMBER")]
    pub nodes_max: Option<usize>,
    /// URL of another head's status page, shown on this one; may be given more than once
    #[arg(long = "head", value_name = "URL")]
    pub heads: Vec<String>,
    /// Name by which browsers may call this head, beside its addresses and host name; may be given
    /// more than once
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Domain of the cluster: the head is HOSTNAME.DOMAIN too
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Read a password from standard input, print its hash and exit
    #[arg(long, hide = true)]
    pub hash_password: bool,
}

fn public(text: &str) -> Result<Public, &'static str> {
    match text {
        "full" => Ok(Public::Full),
        "summary" => Ok(Public::Summary),
        "off" => Ok(Public::Off),
        _ => Err("write full, summary or off"),
    }
}

/// The options in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub enabled: bool,
    /// In the order in which they are tried.
    pub listen: Vec<WebAddress>,
    pub status: PathBuf,
    pub control: PathBuf,
    pub password: PathBuf,
    /// Networks that may log in, besides the head itself.
    pub admin_from: Vec<IpNet>,
    pub public: Public,
    pub nodes_max: usize,
    /// URLs without a path.
    pub heads: Vec<String>,
    /// Accepted values of `Host`.
    pub names: Names,
    /// The file to write the port to; `None` without settings.
    pub port_file: Option<PathBuf>,
}

impl Options {
    /// Reads the settings, unless the command line makes them unnecessary.
    ///
    /// # Errors
    /// Every error in the settings.
    pub fn read(args: &Args) -> Result<Self, Vec<Fault>> {
        let complete = args.config.is_none() && !args.listen.is_empty() && args.status.is_some();
        let settings = if complete {
            None
        } else {
            let file = args.config.clone().unwrap_or_else(files::default_file);
            Some(files::load(&file)?.settings)
        };
        Ok(Self::of(args, settings.as_ref()))
    }

    fn of(args: &Args, settings: Option<&Settings>) -> Self {
        let web = settings.map(|settings| &settings.web);
        let listen: Vec<WebAddress> = if args.listen.is_empty() {
            settings.map(addresses).unwrap_or_default()
        } else {
            args.listen.iter().copied().map(WebAddress::At).collect()
        };
        let sockets = settings.map(|settings| &settings.sockets);
        let path = |given: &Option<PathBuf>, set: Option<&PathBuf>, default: &str| {
            given.clone().or_else(|| set.cloned()).unwrap_or_else(|| PathBuf::from(default))
        };
        Self {
            enabled: web.is_none_or(|web| web.enabled),
            listen,
            status: path(
                &args.status,
                sockets.map(|sockets| &sockets.status),
                "/run/bramblegate/status.sock",
            ),
            control: path(
                &args.control,
                sockets.map(|sockets| &sockets.control),
                "/run/bramblegate/control.sock",
            ),
            password: args.password.clone(),
            admin_from: listed(&args.admin_from, web.map(|web| web.admin_from.clone())),
            public: args.public.or(web.map(|web| web.public)).unwrap_or(Public::Full),
            nodes_max: args
                .nodes_max
                .or(settings.map(|settings| settings.metrics.nodes_max))
                .unwrap_or(1000),
            heads: listed(&args.heads, web.map(|web| web.heads.clone())),
            names: Names {
                domains: vec![domain(args, settings)],
                names: listed(&args.hosts, web.map(|web| web.names.clone())),
            },
            port_file: web.map(|web| web.port_file.clone()),
        }
    }
}

/// Returns the list of the command line, or else of the settings.
fn listed<T: Clone>(given: &[T], set: Option<Vec<T>>) -> Vec<T> {
    if given.is_empty() { set.unwrap_or_default() } else { given.to_vec() }
}

fn domain(args: &Args, settings: Option<&Settings>) -> String {
    let set = || settings.map(|settings| settings.cluster.domain.clone());
    args.domain.clone().or_else(set).unwrap_or_else(|| "bramble".to_owned())
}

/// Returns the addresses of the settings, without ports that are forwarded to a node.
fn addresses(settings: &Settings) -> Vec<WebAddress> {
    let is_forwarded = |port: u16| {
        let mut forwards = settings.forwards.iter();
        forwards.any(|forward| forward.transport == Transport::Tcp && forward.listen == port)
    };
    settings.web.places().filter(|address| !is_forwarded(address.port())).collect()
}

#[cfg(test)]
mod tests {
    use bramblegate_config::{self as config, board::Board};

    use super::*;

    fn options(more: &str, args: &[&str]) -> Options {
        let text = format!("uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n{more}");
        let board = Board::built_in("generic-pc").unwrap();
        let settings = config::load(&[("main.toml", text)], &board).unwrap();
        let args = std::iter::once("bramblegate-web").chain(args.iter().copied());
        Options::of(&Args::parse_from(args), Some(&settings))
    }

    #[test]
    fn port_8080_is_tried_last_and_forwarded_ports_not_at_all() {
        let ports =
            |options: Options| options.listen.iter().map(|at| at.port()).collect::<Vec<_>>();
        assert_eq!(ports(options("", &[])), [80, 8080]);
        assert_eq!(ports(options("web.listen = [8080, 81]\n", &[])), [8080, 81]);
        let forward = "[[forward]]\nlisten = 80\nto = \"192.168.50.7:80\"\n";
        assert_eq!(ports(options(forward, &[])), [8080]);
        assert_eq!(ports(options("", &["--listen", "127.0.0.1:9000"])), [9000]);
    }

    #[test]
    fn the_command_line_wins_over_the_settings() {
        let settings = "web.public = \"summary\"\nmetrics.nodes_max = 5\n";
        let read = options(settings, &[]);
        assert_eq!((read.public, read.nodes_max), (Public::Summary, 5));
        assert_eq!(read.admin_from, ["192.168.50.0/24".parse().unwrap()]);
        let args = ["--public", "off", "--nodes-max", "7", "--admin-from", "10.0.0.0/8"];
        let given = options(settings, &args);
        assert_eq!((given.public, given.nodes_max), (Public::Off, 7));
        assert_eq!(given.admin_from, ["10.0.0.0/8".parse().unwrap()]);
        let names = |options: Options| (options.names.domains, options.names.names);
        let set = "cluster.domain = \"rack\"\nweb.names = [\"rack1.lan\"]\n";
        assert_eq!(names(options("", &[])), (vec!["bramble".to_owned()], vec![]));
        assert_eq!(
            names(options(set, &[])),
            (vec!["rack".to_owned()], vec!["rack1.lan".to_owned()])
        );
        let args = ["--domain", "home.arpa", "--host", "rack1.example"];
        let given = (vec!["home.arpa".to_owned()], vec!["rack1.example".to_owned()]);
        assert_eq!(names(options(set, &args)), given);
    }

    #[test]
    fn a_complete_command_line_needs_no_settings() {
        let args = ["x", "--listen", "127.0.0.1:0", "--status", "/tmp/s"];
        let options = Options::read(&Args::parse_from(args)).unwrap();
        assert_eq!((options.port_file, options.admin_from), (None, Vec::new()));
    }
}
