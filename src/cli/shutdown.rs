//! `bramblegate shutdown`: shuts down the nodes, and then the head. Run by root: the daemon's user
//! must not hold a key to all nodes.

pub mod key;
mod node;
mod progress;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::nodes::known::{Inventory, Node, snapshot};
use super::nodes::{code, report};
use super::settings::{self, ConfigArg};
use super::{control, exit, output};
use crate::api::status::NodeHealth;
use crate::config::Settings;
use node::{Stage, Target};
use progress::{Progress, Reporter};

/// Limit on concurrent ssh clients.
const MAX_SSH: usize = 32;
/// Interval of reports to the daemon.
const INTERVAL: Duration = Duration::from_secs(1);
/// In root's folder, for `system-shutdown`: what the display shows in place of SAFE TO UNPLUG.
const STILL_UP: &str = "/run/bramblegate-shutdown/still-up";

const EXAMPLES: &str = "\
Examples:
  sudo bramblegate shutdown                the nodes; the head stays on
  sudo bramblegate shutdown --all          the nodes, then the head
  bramblegate shutdown --all --dry-run     print what would be done, do nothing

shutdown.key names the ssh key for it. Exits with 0 if all nodes are off, 1 if some are still up, \
78 if the key is not right.";

/// Shut down the nodes, then the head if you want
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Shut down the nodes only (the default)
    #[arg(long, conflicts_with = "all")]
    pub nodes: bool,
    /// Shut down the nodes, then power off this machine
    ///
    /// It stays on while a node is still up.
    #[arg(long)]
    pub all: bool,
    /// Print what would be done, do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// As the power button does: the head powers off in any case
    #[arg(long, hide = true, conflicts_with_all = ["nodes", "dry_run"])]
    pub button: bool,
    /// Status socket, if not that of the settings
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
}

impl Args {
    fn head(&self) -> bool {
        self.all || self.button
    }
}

/// Shuts the nodes down. Exits with 0 if all nodes are off; with 1 if some are not, 3 without a
/// daemon, 77 without root, 78 where the key is not right.
pub fn main(args: Args) -> ExitCode {
    if !args.dry_run && !rustix::process::geteuid().is_root() {
        let message = "shutdown: only root may read the key and power off";
        output::error(message, "run it as `sudo bramblegate shutdown`");
        return ExitCode::from(exit::NO_PERMISSION);
    }
    let button = args.button;
    if button {
        let _ = std::fs::remove_file(STILL_UP);
    }
    let settings = match settings::load_or_report(&args.config.config) {
        Ok(merged) => merged.settings,
        Err(code) => return code,
    };
    if button && settings.shutdown.key.is_none() {
        // Without a key the nodes are left alone.
        return power_off();
    }
    let code = shut_down(&args, &settings);
    if button && code.is_err() {
        // The settings want the nodes off, but they are not.
        write_still_up("NODES STILL UP");
    }
    code.unwrap_or_else(|code| code)
}

/// Shuts down the nodes and, where asked for, the head; returns the exit code.
///
/// # Errors
/// The exit code if nothing was done.
fn shut_down(args: &Args, settings: &Settings) -> Result<ExitCode, ExitCode> {
    let targets = targets(args, settings)?;
    if targets.is_empty() {
        output::out("no node is up\n");
    }
    if args.dry_run {
        for target in &targets {
            output::out(&format!("{}: {}\n", target.name, target.command().join(" ")));
        }
        output::out(if args.head() { "then the head: systemctl poweroff\n" } else { "" });
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes && !args.button {
        confirm(&targets, args.head())?;
    }
    let up = if targets.is_empty() {
        Vec::new()
    } else {
        warn(args.head());
        carry_out(args, settings, targets)?
    };
    if !up.is_empty() && !args.button {
        let stays = if args.all { ", so this machine stays on" } else { "" };
        output::error(
            &format!("shutdown: still up: {}{stays}", up.join(", ")),
            "see above why; `sudo systemctl poweroff` powers this machine off alone",
        );
        return Ok(ExitCode::from(code::REFUSED));
    }
    if let Some(first) = up.first() {
        write_still_up(&format!("{first} STILL UP"));
    }
    if !args.head() {
        return Ok(ExitCode::SUCCESS);
    }
    // The nodes have released their shares before the head, which exports them, goes.
    Ok(power_off())
}

/// Checks the key, and returns the nodes that may be up.
fn targets(args: &Args, settings: &Settings) -> Result<Vec<Target>, ExitCode> {
    let Some(path) = &settings.shutdown.key else {
        output::error(
            "shutdown: shutdown.key is missing",
            "docs/guide/packing-up.md shows how to make a key and name it in [shutdown]; it is \
             installed below share/doc/bramblegate",
        );
        return Err(ExitCode::from(exit::CONFIG));
    };
    key::check_key(path).map_err(|(message, help)| {
        output::error(&format!("shutdown: {message}"), &help);
        ExitCode::from(exit::CONFIG)
    })?;
    let status = snapshot(args.socket.clone(), &args.config.config)
        .map_err(|unknown| report("shutdown", &unknown))?;
    let known = Inventory::of_status(&status).nodes;
    let are_named = known.iter().any(Node::is_named);
    let targets = known.into_iter().filter_map(|node| {
        let counts = node.is_named() || !are_named;
        target(settings, path, node, counts)
    });
    Ok(targets.collect())
}

/// Returns a node as a target; `None` if it is down, left alone by the settings, or has no address.
fn target(settings: &Settings, key: &Path, node: Node, counts: bool) -> Option<Target> {
    let is = |health: NodeHealth| node.health == health.to_string();
    if is(NodeHealth::Down) || settings.shutdown.excludes(&node.name) {
        return None;
    }
    Some(Target {
        alias: format!("{}.{}", node.name, settings.cluster.domain),
        address: node.address?,
        is_up: is(NodeHealth::Up) || is(NodeHealth::Degraded),
        counts,
        name: node.name,
        user: settings.shutdown.user.clone(),
        key: key.to_owned(),
    })
}

fn confirm(targets: &[Target], head: bool) -> Result<(), ExitCode> {
    if !std::io::stdin().is_terminal() {
        output::error("shutdown: there is no terminal to ask on", "add --yes if you mean it");
        return Err(ExitCode::from(exit::USAGE));
    }
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let then = if head { ", then this machine" } else { "" };
    let names = if names.is_empty() { "no node".to_owned() } else { names.join(", ") };
    let answer = output::ask(&format!("Shut down {names}{then}?"), "no");
    if matches!(answer.as_deref(), Some("y" | "Y" | "yes")) {
        return Ok(());
    }
    output::out("nothing was shut down\n");
    Err(ExitCode::from(code::REFUSED))
}

/// Warns users who are logged in on the head. On a node its own `systemctl poweroff` does that.
fn warn(head: bool) {
    let then = if head { ", then this machine" } else { "" };
    let text = format!("bramblegate: the nodes are shut down now{then}");
    let wall = Command::new("wall").arg(text).stdin(Stdio::null()).stderr(Stdio::null()).status();
    // Best effort: without the program there is no warning.
    let _ = wall;
}

/// Shuts the nodes down and waits for them; returns those that are still up.
fn carry_out(
    args: &Args,
    settings: &Settings,
    targets: Vec<Target>,
) -> Result<Vec<String>, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|_| ExitCode::from(exit::CANNOT_CREATE))?;
    let names = targets.iter().map(|target| target.name.clone());
    let mut progress = Progress::new(names, args.head());
    let reporter = Reporter::start(control::configured_socket(&args.config.config));
    let started = Instant::now();
    let deadline = started + settings.shutdown.timeout;
    let interface = cluster_interface(args);
    runtime.block_on(watch(targets, interface, deadline, &mut progress, &reporter));
    let all_off = progress.waiting().next().is_none();
    progress.give_up(args.button || args.all && all_off);
    while !progress.is_reported() {
        reporter.send(progress.report(Duration::ZERO, false));
    }
    reporter.send(progress.report(Duration::ZERO, true));
    reporter.finish();
    let (off, seconds) = (progress.off(), started.elapsed().as_secs());
    let up: Vec<String> = progress.waiting().map(str::to_owned).collect();
    output::out(&format!("{off} of {} nodes are off after {seconds} s\n", off + up.len()));
    Ok(up)
}

/// Returns the cluster interface that the daemon reports.
fn cluster_interface(args: &Args) -> Option<String> {
    let status = snapshot(args.socket.clone(), &args.config.config).ok()?;
    status.cluster.interface.map(|name| name.to_string())
}

async fn watch(
    targets: Vec<Target>,
    interface: Option<String>,
    deadline: Instant,
    progress: &mut Progress,
    reporter: &Reporter,
) {
    let (stages, mut changed) = mpsc::unbounded_channel();
    let (permits, interface) = (Arc::new(Semaphore::new(MAX_SSH)), Arc::new(interface));
    // Dropped at the end, which aborts what still runs.
    let mut tasks = JoinSet::new();
    for (index, target) in targets.into_iter().enumerate() {
        let (stages, permits) = (stages.clone(), Arc::clone(&permits));
        let interface = Arc::clone(&interface);
        tasks.spawn(async move {
            let permit = permits.acquire().await;
            let stage = target.power_off().await;
            drop(permit);
            let is_going = stage == Stage::Going;
            let _ = stages.send((index, stage));
            if is_going {
                target.wait_until_off(interface.as_deref()).await;
                let _ = stages.send((index, Stage::Off));
            }
        });
    }
    let mut next = Instant::now();
    while !progress.is_settled() && Instant::now() < deadline {
        tokio::select! {
            Some((index, stage)) = changed.recv() => progress.note(index, stage),
            () = sleep_until(next.min(deadline)) => {
                next += INTERVAL;
                reporter.send(progress.report(deadline - Instant::now(), false));
            }
        }
    }
}

/// Makes the display name what is still up when the head is off.
fn write_still_up(words: &str) {
    let path = Path::new(STILL_UP);
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(error) = folder.and_then(|()| std::fs::write(path, format!("{words}\n"))) {
        output::note(&format!("{STILL_UP}: {error}"), "check the nodes before you pull the plug");
    }
}

/// Powers the head off through systemd, like any power-off.
fn power_off() -> ExitCode {
    match Command::new("systemctl").args(["--no-block", "poweroff"]).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => {
            output::error("shutdown: systemctl did not power off", "sudo systemctl poweroff");
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}
