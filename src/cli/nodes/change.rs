//! `nodes add`, `adopt`, `rename`, `forget`: changes of the settings' own drop-in, then a reload.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::super::settings::{self, ConfigArg};
use super::super::{exit, output, run};
use super::edit::{self, Entry};
use super::known::{Known, Node, snapshot};
use super::order::{self, OrderArgs};
use super::{code, drop_in, list};
use crate::config::{self, Settings};
use crate::daemon::InstanceLock;
use crate::sink::durable;

const ADD_EXAMPLES: &str = "\
Examples:
  sudo bramblegate nodes add rpi8 --mac b8:27:eb:00:00:08 --address 192.168.50.18
  sudo bramblegate nodes add nas --address 192.168.50.30 --probe tcp:445";
const ADOPT_EXAMPLES: &str = "\
Examples:
  sudo bramblegate nodes adopt node-00-00-07             under the name it has
  sudo bramblegate nodes adopt node-00-00-07 --as rpi7   under a better one";
const RENAME_EXAMPLES: &str = "\
Examples:
  sudo bramblegate nodes rename rpi7 window";
const FORGET_EXAMPLES: &str = "\
Examples:
  sudo bramblegate nodes forget rpi7
  sudo bramblegate nodes forget b8:27:eb:00:00:07       a board that was found: its address is free again";

/// Write a node into the settings
#[derive(Debug, clap::Args)]
#[command(after_help = ADD_EXAMPLES)]
pub struct Add {
    pub name: String,
    /// Its hardware address
    #[arg(long)]
    pub mac: Option<String>,
    /// The address that it has, or is to get
    #[arg(long)]
    pub address: Option<String>,
    /// How it is probed: icmp, arp, tcp:PORT, http://:PORT/path; more than once for several
    #[arg(long)]
    pub probe: Vec<String>,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Write a node that was found into the settings: it keeps its board, its address and its place
#[derive(Debug, clap::Args)]
#[command(after_help = ADOPT_EXAMPLES)]
pub struct Adopt {
    pub name: String,
    /// The name it gets
    #[arg(long = "as", value_name = "NAME")]
    pub new_name: Option<String>,
    /// The daemon's status socket; without it the one that the settings name
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Give a node another name; one that was found is adopted under it
#[derive(Debug, clap::Args)]
#[command(after_help = RENAME_EXAMPLES)]
pub struct Rename {
    pub name: String,
    pub new_name: String,
    /// The daemon's status socket; without it the one that the settings name
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Take a node out of the settings; of one that was found, forget the address that is kept for it
#[derive(Debug, clap::Args)]
#[command(after_help = FORGET_EXAMPLES)]
pub struct Forget {
    pub name: String,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Exit code and what to say.
type Refusal = (u8, String);

pub fn add(args: Add) -> ExitCode {
    let Add { name, mac, address, probe: probes, config } = args;
    let _turn = turn(&config);
    finish("add", write_new(&config, Entry { name, mac, address, probes }))
}

pub fn adopt(args: Adopt) -> ExitCode {
    let _turn = turn(&args.config);
    let new_name = args.new_name.unwrap_or_else(|| args.name.clone());
    finish("adopt", found(args.socket, &args.config, &args.name).and_then(|node| take(&args.config, node, new_name)))
}

pub fn rename(args: Rename) -> ExitCode {
    let Rename { name, new_name, socket, config } = args;
    let _turn = turn(&config);
    let same = name.eq_ignore_ascii_case(&new_name);
    let result = match edit::renamed(&drop_in_text(&config), &name, &new_name) {
        Some(_) if is_heads(&new_name) => Err(heads(&new_name)),
        Some(text) => replace(&config, &text, |settings| {
            settings.nodes.iter().any(|node| node.name == new_name) && (same || !names(settings, &name))
        }),
        None => found(socket, &config, &name).and_then(|node| take(&config, node, new_name)),
    };
    finish("rename", result)
}

pub fn forget(args: Forget) -> ExitCode {
    let Forget { name, config } = args;
    let _turn = turn(&config);
    let result = match edit::without(&drop_in_text(&config), &name) {
        Some(text) => replace(&config, &text, |settings| !names(settings, &name)),
        None if is_settled(&config, &name) => Err((code::REFUSED, elsewhere(&config, &name))),
        None => return order::main(OrderArgs { names: vec![name], socket: None, config }, "forget"),
    };
    finish("forget", result)
}

/// Two changes at once would each write what it read, and the first would be lost: one waits for the other, by a lock on the
/// folder of the settings. Where that cannot be had nothing can be written either.
fn turn(config: &ConfigArg) -> Option<File> {
    let folder = config.config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(folder).ok()?;
    flock(&folder, FlockOperation::LockExclusive).ok()?;
    Some(folder)
}

fn finish(verb: &str, result: Result<(), Refusal>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            output::err(&format!("bramblegate nodes {verb}: {}\n", text.trim_end()));
            ExitCode::from(code)
        }
    }
}

/// Returns whether the settings have a node of this name, in whatever file.
fn is_settled(config: &ConfigArg, name: &str) -> bool {
    settings::load(&config.config).is_ok_and(|merged| names(&merged.settings, name))
}

/// Returns why a name is not in our drop-in.
fn elsewhere(config: &ConfigArg, name: &str) -> String {
    let file = drop_in(config);
    if is_settled(config, name) {
        format!("{name} is not in {}, but in another file or group of the settings: change it there", file.display())
    } else {
        format!("{name} is not in the settings; a node that was found is forgotten when it has gone")
    }
}

/// A node that was found, by name.
fn found(socket: Option<PathBuf>, config: &ConfigArg, name: &str) -> Result<Node, Refusal> {
    let status = snapshot(socket, &config.config).map_err(|unknown| {
        // It tells by itself.
        list::tell("nodes", &unknown);
        (code::NOT_REACHABLE, "which nodes were found only the daemon knows".to_owned())
    })?;
    let known = Known::of_status(&status);
    match known.nodes.into_iter().find(|node| node.name.eq_ignore_ascii_case(name)) {
        Some(node) if node.found => Ok(node),
        Some(_) => Err((code::REFUSED, elsewhere(config, name))),
        None => Err((code::REFUSED, format!("there is no node {name}: `bramblegate nodes` lists them"))),
    }
}

/// Writes a found node down. Its address only where the cluster is at home: while it has moved, that is not where it should be.
fn take(config: &ConfigArg, node: Node, name: String) -> Result<(), Refusal> {
    let merged = settings::load(&config.config).map_err(|faults| (exit::CONFIG, lines(&faults)))?;
    let home = merged.settings.cluster.address;
    let address = node.address.filter(|address| home.contains(address)).map(|address| address.to_string());
    write_new(config, Entry { name, mac: node.mac, address, probes: Vec::new() })
}

fn is_heads(name: &str) -> bool {
    config::is_heads_name(name, &settings::host_name())
}

fn heads(name: &str) -> Refusal {
    let remedy = config::heads_name_remedy(name);
    (code::REFUSED, format!("{name} is the name of this head node itself, nothing was changed: {remedy}"))
}

fn write_new(config: &ConfigArg, entry: Entry) -> Result<(), Refusal> {
    if is_heads(&entry.name) {
        return Err(heads(&entry.name));
    }
    let merged = settings::load(&config.config).map_err(|faults| (exit::CONFIG, lines(&faults)))?;
    if names(&merged.settings, &entry.name) {
        return Err((code::REFUSED, format!("the settings have a node {} already", entry.name)));
    }
    let text = edit::with(&drop_in_text(config), &entry);
    replace(config, &text, |settings| names(settings, &entry.name))
}

fn names(settings: &Settings, name: &str) -> bool {
    settings.nodes.iter().any(|node| node.name.eq_ignore_ascii_case(name))
}

fn drop_in_text(config: &ConfigArg) -> String {
    fs::read_to_string(drop_in(config)).unwrap_or_default()
}

fn lines(faults: &[config::Fault]) -> String {
    faults.iter().map(config::Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// Puts `text` in the drop-in's place if the settings are right with it and say what was wanted; then lets the daemon know.
fn replace(config: &ConfigArg, text: &str, says: impl Fn(&Settings) -> bool) -> Result<(), Refusal> {
    let path = drop_in(config);
    let name = path.display().to_string();
    let (mut files, unreadable) = settings::read_files(&config.config);
    if !unreadable.is_empty() {
        return Err((exit::CONFIG, lines(&unreadable)));
    }
    match files.iter_mut().skip(1).find(|(file, _)| *file == name) {
        Some((_, known)) => text.clone_into(known),
        None => {
            // After the main file the drop-ins stand in the order of their names.
            let place = files.iter().skip(1).take_while(|(file, _)| *file < name).count() + 1;
            files.insert(place, (name.clone(), text.to_owned()));
        }
    }
    let merged = config::resolve(&files, &settings::boards(), settings::compatible().as_deref(), None);
    let merged = merged.map_err(|faults| (exit::CONFIG, format!("nothing was changed:\n{}", lines(&faults))))?;
    if !says(&merged.settings) {
        let text = format!("{name} is written in a way that this cannot be done here: edit it by hand");
        return Err((code::REFUSED, text));
    }
    write(&path, text).map_err(|error| not_written(&path, &error))?;
    reload();
    Ok(())
}

fn not_written(path: &Path, error: &io::Error) -> Refusal {
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied => exit::NO_PERMISSION,
        _ => exit::CANNOT_CREATE,
    };
    (code, settings::not_written(path, error))
}

/// Whole or not at all; readable by the daemon's user. A link stays one: what it leads to is written.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = &behind_links(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    if !folder.exists() {
        fs::create_dir(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    durable::replace_public(path, text)
}

/// Where the links lead, also if nothing is there yet.
fn behind_links(path: &Path) -> PathBuf {
    /// As the kernel (`MAXSYMLINKS`): beyond that they lead in a circle.
    const MOST: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new(".")).join(target);
    }
    path
}

/// Lets the daemon read the settings again, if one runs.
fn reload() {
    let holder = InstanceLock::holder(&run::run_directory());
    let pid = holder.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    match pid.map(|pid| kill_process(pid, Signal::HUP)) {
        Some(Ok(())) => {}
        Some(Err(error)) => output::err(&format!(
            "written, but the daemon could not be told ({error}): sudo systemctl reload bramblegate\n"
        )),
        None => output::err("written; the daemon does not run and will read it at its start\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("bramblegate-change-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_link_stays_and_the_file_that_it_leads_to_is_written() {
        let folder = folder("link");
        let (link, between) = (folder.join("60-nodes.toml"), folder.join("between.toml"));
        fs::create_dir(folder.join("far")).unwrap();
        std::os::unix::fs::symlink("between.toml", &link).unwrap();
        std::os::unix::fs::symlink("far/nodes.toml", &between).unwrap();
        for text in ["# there was nothing\n", "# there was something\n"] {
            write(&link, text).unwrap();
            assert_eq!(fs::read_to_string(folder.join("far/nodes.toml")).unwrap(), text);
        }
        let links = link.is_symlink() && between.is_symlink();
        fs::remove_dir_all(&folder).unwrap();
        assert!(links);
    }

    #[test]
    fn a_name_that_dnsmasq_takes_for_a_time_is_refused_and_nothing_is_written() {
        let folder = folder("name");
        let config = ConfigArg { config: folder.join("bramblegate.toml") };
        let ports = "board = \"raspberry-pi-4\"\nuplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n";
        fs::write(&config.config, ports).unwrap();
        let address = Some("192.168.50.9".to_owned());
        let refused = write_new(&config, Entry { name: "12h".to_owned(), address, ..Entry::default() });
        let written = drop_in(&config).exists();
        fs::remove_dir_all(&folder).unwrap();
        let (code, text) = refused.unwrap_err();
        assert_eq!((code, written), (exit::CONFIG, false));
        assert!(text.contains("nothing was changed") && text.contains("as \"n12h\""), "{text}");
    }

    #[test]
    fn the_heads_own_name_is_no_nodes_name() {
        let folder = folder("head");
        let config = ConfigArg { config: folder.join("bramblegate.toml") };
        let label = settings::host_name().split('.').next().unwrap().to_ascii_uppercase();
        let refused = write_new(&config, Entry { name: label, ..Entry::default() });
        fs::remove_dir_all(&folder).unwrap();
        let (code, text) = refused.unwrap_err();
        assert!(
            code == code::REFUSED && text.contains("this head node itself") && text.contains("hostnamectl"),
            "{text}"
        );
    }
}
