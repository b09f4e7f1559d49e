//! The program `bramblegate-web`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bramblegate_web::follow::Follower;
use bramblegate_web::history::History;
use bramblegate_web::host::Names;
use bramblegate_web::live::Live;
use bramblegate_web::log;
use bramblegate_web::orders::Desk;
use bramblegate_web::serve::{self, CONNECTIONS, DISCOVERING, Site};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

/// Serves the status page of this head node.
#[derive(Debug, Parser)]
#[command(name = "bramblegate-web", version)]
struct Args {
    /// Address and port to listen on; may be given more than once, the first that is free is taken
    #[arg(long = "listen", value_name = "ADDR:PORT", default_values = ["[::]:80", "[::]:8080"])]
    listen: Vec<SocketAddr>,
    /// The daemon's status socket
    #[arg(long, value_name = "PATH", default_value = "/run/bramblegate/status.sock")]
    status: PathBuf,
    /// The daemon's control socket, for orders of those who log in
    #[arg(long, value_name = "SOCKET", default_value = "/run/bramblegate/control.sock")]
    control: PathBuf,
    /// File with the password's hash (bramblegate web password writes it)
    #[arg(long, value_name = "FILE", default_value = "/etc/bramblegate/web.password")]
    password: PathBuf,
    /// Network whose computers may log in, beside the head itself; may be given more than once
    #[arg(long, value_name = "NETWORK")]
    admin_from: Vec<ipnet::IpNet>,
    /// Up to so many nodes are series of their own in /metrics; above that groups alone
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    nodes_max: usize,
    /// Name by which browsers may call this head, beside its addresses and host name; may be given
    /// more than once
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Domain of the cluster: the head is HOSTNAME.DOMAIN too
    #[arg(long, value_name = "DOMAIN", default_value = "bramble")]
    domain: String,
}

/// Raises the number of files that this process may have open to what its connections need. What
/// is not allowed is done without: connections wait then.
fn allow_connections() {
    let wanted = u64::try_from(CONNECTIONS + 64).unwrap_or(u64::MAX);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
}

/// No port could be taken (sysexits.h, EX_UNAVAILABLE).
const UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    let args = Args::parse();
    allow_connections();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("there is no runtime: {error}")),
    };
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &str) -> ExitCode {
    log::line(format_args!("bramblegate-web: {error}"));
    ExitCode::from(UNAVAILABLE)
}

async fn run(args: Args) -> Result<(), String> {
    let listener = listen(&args.listen).await?;
    let at = listener.local_addr().map_err(|error| error.to_string())?;
    let follower = Follower::start(args.status).map_err(|error| error.to_string())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let history = History::default();
    tokio::spawn(history.clone().run(follower.clone()));
    let live =
        Live::new(follower.clone(), history.clone(), u64::try_from(now.as_millis()).unwrap_or(0));
    tokio::spawn(live.clone().run());
    let desk = Arc::new(Desk::new(args.password, args.control, args.admin_from));
    let names = Arc::new(Names { domains: vec![args.domain], names: args.host });
    let (ready, assets, measured) = Default::default();
    let routes = serve::routes(Site {
        follower,
        live,
        history,
        desk,
        nodes_max: args.nodes_max,
        names,
        ready,
        assets,
        measured,
        discovering: Arc::new(Semaphore::new(DISCOVERING)),
    });
    log::line(format_args!("the status page is at {at}"));
    let mut end = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    tokio::select! {
        () = serve::serve(listener, routes) => {}
        _ = end.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

/// Returns the first of the addresses that is free.
async fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, String> {
    let mut refused = Vec::new();
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => refused.push(format!("{address}: {error}")),
        }
    }
    Err(format!("no address to listen on ({})", refused.join("; ")))
}
