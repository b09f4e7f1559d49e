//! The program `bramblegate-web`.

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use bramblegate_web::feed::Feed;
use bramblegate_web::guests::Guests;
use bramblegate_web::listen::{self, PortFile};
use bramblegate_web::live::{Live, Sources};
use bramblegate_web::options::{Args, Options};
use bramblegate_web::orders::Desk;
use bramblegate_web::serve::{self, CONNECTIONS, Site};
use bramblegate_web::{log, login};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The password is unusable (sysexits.h, EX_DATAERR).
const DATA: u8 = 65;
/// No port is free (sysexits.h, EX_UNAVAILABLE).
const UNAVAILABLE: u8 = 69;
/// The settings are invalid (sysexits.h, EX_CONFIG).
const CONFIG: u8 = 78;
/// The maximum length of a password, in bytes.
const LONGEST_PASSWORD: u64 = 1024;

/// The exit code and the reason of a failure.
struct Failure(u8, String);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let ended = if args.hash_password { hash() } else { serve(&args) };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, why)) => {
            log::line(format_args!("bramblegate-web: {why}"));
            ExitCode::from(code)
        }
    }
}

/// Prints the hash of the password on standard input.
fn hash() -> Result<(), Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(LONGEST_PASSWORD + 1).read_to_string(&mut text);
    read.map_err(|error| Failure(DATA, format!("the password cannot be read: {error}")))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.chars().count() < login::SHORTEST || text.len() as u64 > LONGEST_PASSWORD {
        let least = login::SHORTEST;
        let why = format!("a password has {least} characters or more, and at most 1,000");
        return Err(Failure(DATA, why));
    }
    let hash = login::hash(password).map_err(|error| Failure(DATA, error.to_string()))?;
    println!("{hash}");
    Ok(())
}

/// Raises the limit on open files to what the connections need, as far as allowed. Beyond it, new
/// connections wait.
fn allow_connections() {
    let wanted = u64::try_from(CONNECTIONS + 64).unwrap_or(u64::MAX);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
}

fn serve(args: &Args) -> Result<(), Failure> {
    let options = Options::read(args).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure(CONFIG, lines.join("\n"))
    })?;
    if !options.enabled {
        log::line(format_args!("there is no status page: web.enabled is false"));
        return Ok(());
    }
    allow_connections();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    runtime.block_on(run(args, options))
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure(UNAVAILABLE, error.to_string())
}

async fn run(args: &Args, first: Options) -> Result<(), Failure> {
    let mut end = signal(SignalKind::terminate()).map_err(|error| failed(&error))?;
    let mut reload = signal(SignalKind::hangup()).map_err(|error| failed(&error))?;
    let inherited = listen::inherited().map_err(|error| failed(&error))?;
    let (options, seen) = watch::channel(Arc::new(first));
    let routes = site(&seen).map_err(|error| failed(&error))?;
    // Sockets of the service manager replace those of the settings.
    let binds = inherited.is_empty() || !args.listen.is_empty();
    let mut port = inherited.first().map(port_of);
    let guests = Guests::new(CONNECTIONS);
    let mut inherited_servers = JoinSet::new();
    for listener in inherited {
        inherited_servers.spawn(serve::serve(listener, guests.clone(), routes.clone()));
    }
    let mut servers = JoinSet::new();
    if binds {
        let listener = listen::first_free(&options.borrow().listen).map_err(|why| failed(&why))?;
        port = Some(port_of(&listener));
        servers.spawn(serve::serve(listener, guests.clone(), routes.clone()));
    }
    let mut port_file = announce(&options.borrow(), port);
    // Fails, harmlessly, without a service manager.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            _ = end.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = reload.recv() => {}
        }
        let Some(new) = reloaded(args, &options.borrow()).await else { continue };
        let rebinds = binds && new.listen != options.borrow().listen;
        if rebinds {
            // Close the old port first: the new settings may name it again.
            servers.shutdown().await;
            let listener = listen::first_free(&new.listen).map_err(|why| failed(&why))?;
            port = Some(port_of(&listener));
            servers.spawn(serve::serve(listener, guests.clone(), routes.clone()));
        }
        if new.port_file != options.borrow().port_file || rebinds {
            drop(port_file);
            port_file = announce(&new, port);
        }
        options.send_replace(Arc::new(new));
    }
    drop(port_file);
    Ok(())
}

/// Starts the tasks behind the page; returns its routes.
fn site(options: &watch::Receiver<Arc<Options>>) -> std::io::Result<Router> {
    let feed = Feed::start(options.borrow().status.clone())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let sources = Sources::default();
    tokio::spawn(sources.history.clone().run(feed.clone()));
    tokio::spawn(sources.heads.clone().run(options.clone()));
    tokio::spawn(sources.logbook.clone().run());
    let run = u64::try_from(now.as_millis()).unwrap_or(0);
    let live = Live::new(feed.clone(), sources.clone(), run);
    tokio::spawn(live.clone().run());
    let desk = Arc::new(Desk::new(options.clone()));
    let (options, cache) = (options.clone(), Arc::default());
    Ok(serve::routes(Site { feed, live, sources, desk, options, cache }))
}

/// Reloads the settings; `None` where they are invalid, and the current ones stay in force.
async fn reloaded(args: &Args, before: &Arc<Options>) -> Option<Options> {
    let args = args.clone();
    let read = tokio::task::spawn_blocking(move || Options::read(&args)).await.ok()?;
    match read {
        Ok(new) => {
            if (&new.status, new.enabled) != (&before.status, before.enabled) {
                log::line(format_args!(
                    "web.enabled and sockets.status take effect with: sudo systemctl restart \
                     bramblegate-web"
                ));
            }
            Some(new)
        }
        Err(faults) => {
            for fault in faults {
                log::line(format_args!("the settings in force stay: {fault}"));
            }
            None
        }
    }
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

/// Logs the port, and writes it to the file from which the daemon reads it.
fn announce(options: &Options, port: Option<u16>) -> Option<PortFile> {
    let port = port?;
    log::line(format_args!("the status page is at port {port}"));
    match PortFile::write(options.port_file.as_deref()?, port) {
        Ok(file) => Some(file),
        Err(error) => {
            log::line(format_args!("the display does not show where the page is: {error}"));
            None
        }
    }
}
