//! `nodes add`, `adopt`, `rename`, `forget`: edit the drop-in of the nodes, then reload the
//! settings.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::super::settings::{self, ConfigArg, NotWritten};
use super::super::{exit, output, run, status};
use super::edit::{self, Entry};
use super::fold::{self, FoldError};
use super::known::{Inventory, Node, Unavailable, snapshot};
use super::order::{self, OrderArgs};
use super::{code, drop_in};
use crate::api::client;
use crate::api::control::Order;
use crate::config::{self, Fault, Settings};
use crate::event_loop::InstanceLock;
use crate::files::folder::{self, Folder};

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
  sudo bramblegate nodes rename rpi7 window
  sudo bramblegate nodes rename 'rpi[1-3]' 'left[1-3]'";
const FORGET_EXAMPLES: &str = "\
Examples:
  sudo bramblegate nodes forget rpi7
  sudo bramblegate nodes forget 'rack2-slot[01-16]' nas
  sudo bramblegate nodes forget b8:27:eb:00:00:07       a board that was found: its address is \
  free again";

/// Write a node into the settings
#[derive(Debug, clap::Args)]
#[command(after_long_help = ADD_EXAMPLES)]
pub struct Add {
    /// Its name
    ///
    /// Several in one word where they have neither --mac nor --address.
    pub name: String,
    /// Its hardware address
    #[arg(long)]
    pub mac: Option<String>,
    /// The address that it has, or is to get
    #[arg(long)]
    pub address: Option<String>,
    /// icmp, arp, tcp:PORT or http://:PORT/path; repeatable
    #[arg(long)]
    pub probe: Vec<String>,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Write a node that was found into the settings
///
/// It keeps its board, its address and its place.
#[derive(Debug, clap::Args)]
#[command(after_long_help = ADOPT_EXAMPLES)]
pub struct Adopt {
    /// Names of nodes, folded or not
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// The names they get, as many
    #[arg(long = "as", value_name = "NAME")]
    pub new_name: Option<String>,
    /// Status socket, if not that of the settings
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Rename a node; one that was found is adopted
#[derive(Debug, clap::Args)]
#[command(after_long_help = RENAME_EXAMPLES)]
pub struct Rename {
    /// A node, or several in one word
    pub name: String,
    /// Its new name, or theirs, as many
    pub new_name: String,
    /// Status socket, if not that of the settings
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Take a node out of the settings, or forget one that was found
///
/// The address that is kept for a node that was found is free again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = FORGET_EXAMPLES)]
pub struct Forget {
    /// Names of nodes, folded or not
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// How long to wait for a change already in progress, and the poll interval.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Why the settings were not changed.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Names(#[from] FoldError),
    #[error("{new} names for {nodes} nodes")]
    Unequal { new: usize, nodes: usize },
    #[error("{name} is the name of this head node itself, nothing was changed")]
    HeadsName { name: String },
    #[error("the settings have a node {0} already, nothing was changed")]
    NameTaken(String),
    #[error("{name} is not in {}", .drop_in.display())]
    Elsewhere { name: String, drop_in: PathBuf },
    #[error("{0} is not in the settings")]
    NotInSettings(String),
    #[error("there is no node {0}")]
    NoSuchNode(String),
    #[error(
        "only the daemon knows which nodes were found: {}: {error}", .socket.display()
    )]
    DaemonUnreachable { socket: PathBuf, error: client::Error },
    /// The settings have errors as they are.
    #[error("{}", settings::lines(.0))]
    Settings(Vec<Fault>),
    /// The settings would have errors with the change.
    #[error("nothing was changed: with this the settings would have errors")]
    Refused(Vec<Fault>),
    #[error("{} is written in a form that this verb cannot change", .0.display())]
    ByHand(PathBuf),
    #[error(transparent)]
    NotWritten(NotWritten),
}

impl ChangeError {
    /// Returns the remedy; `None` if the error itself has it.
    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Settings(_) => return None,
            Self::Refused(_) => "change the command by the errors below".to_owned(),
            Self::Names(error) => error.help(),
            Self::Unequal { .. } => "give as many new names as nodes".to_owned(),
            Self::HeadsName { name } => config::heads_name_remedy(name),
            Self::NameTaken(_) => "give this node another name".to_owned(),
            Self::Elsewhere { .. } => {
                "it is in another file or in a group of the settings: change it there".to_owned()
            }
            Self::NotInSettings(_) => {
                "a node that was found is forgotten when it has gone".to_owned()
            }
            Self::NoSuchNode(_) => "`bramblegate nodes` lists the nodes".to_owned(),
            Self::DaemonUnreachable { error, .. } => status::remedy(error).to_owned(),
            Self::ByHand(_) => "edit the file by hand".to_owned(),
            Self::NotWritten(error) => error.help(),
        })
    }

    fn exit(&self) -> u8 {
        match self {
            Self::Names(_) | Self::Unequal { .. } => exit::USAGE,
            Self::Settings(_) | Self::Refused(_) => exit::CONFIG,
            Self::DaemonUnreachable { .. } => code::NOT_REACHABLE,
            Self::NotWritten(error) => error.exit(),
            Self::HeadsName { .. }
            | Self::NameTaken(_)
            | Self::Elsewhere { .. }
            | Self::NotInSettings(_)
            | Self::NoSuchNode(_)
            | Self::ByHand(_) => code::REFUSED,
        }
    }
}

pub fn add(args: Add) -> ExitCode {
    let Add { name, mac, address, probe: probes, config } = args;
    let names = if mac.is_some() || address.is_some() {
        fold::unfold_one(&name).map(|name| vec![name]).map_err(ChangeError::from)
    } else {
        expand(&[name])
    };
    let _lock = lock(&config);
    each("add", names, |name| {
        let entry =
            Entry { name, mac: mac.clone(), address: address.clone(), probes: probes.clone() };
        write_new(&config, entry)
    })
}

pub fn adopt(args: Adopt) -> ExitCode {
    let Adopt { names, new_name, socket, config } = args;
    let pairs = expand(&names).and_then(|names| match &new_name {
        None => Ok(names.iter().cloned().zip(names.iter().cloned()).collect()),
        Some(new) => pairs(names, expand(std::slice::from_ref(new))?),
    });
    let _lock = lock(&config);
    each("adopt", pairs, |(name, new_name)| {
        found_node(socket.clone(), &config, &name)
            .and_then(|node| adopt_found(&config, node, new_name))
    })
}

pub fn rename(args: Rename) -> ExitCode {
    let Rename { name, new_name, socket, config } = args;
    let pairs = expand(&[name]).and_then(|names| pairs(names, expand(&[new_name])?));
    let _lock = lock(&config);
    each("rename", pairs, |(name, new_name)| rename_one(socket.clone(), &config, &name, new_name))
}

fn rename_one(
    socket: Option<PathBuf>,
    config: &ConfigArg,
    name: &str,
    new_name: String,
) -> Result<(), ChangeError> {
    let same = name.eq_ignore_ascii_case(&new_name);
    let renamed = edit::renamed(&drop_in_text(config)?, name, &new_name);
    // Nodes of one name merge: the other would get this one's board and address.
    if renamed.is_some() && !same && is_in_settings(config, &new_name) {
        return Err(ChangeError::NameTaken(new_name));
    }
    match renamed {
        Some(_) if is_own_name(&new_name) => Err(ChangeError::HeadsName { name: new_name }),
        Some(text) => replace(config, &text, |settings| {
            settings.nodes.iter().any(|node| node.name == new_name)
                && (same || !has_node(settings, name))
        }),
        None => {
            found_node(socket, config, name).and_then(|node| adopt_found(config, node, new_name))
        }
    }
}

/// Removes nodes from the settings in one change, or none; makes the daemon forget those that were
/// found.
pub fn forget(args: Forget) -> ExitCode {
    let Forget { names: words, config } = args;
    let all = match expand(&words) {
        Ok(all) => all,
        Err(error) => return finish("forget", Err(error)),
    };
    let own_lock = lock(&config);
    let mut text = match drop_in_text(&config) {
        Ok(text) => text,
        Err(error) => return finish("forget", Err(error)),
    };
    let (mut gone, mut found) = (Vec::new(), Vec::new());
    for name in all {
        match edit::without(&text, &name) {
            Some(rest) => {
                text = rest;
                gone.push(name);
            }
            None if is_in_settings(&config, &name) => {
                return finish("forget", Err(not_in_drop_in(&config, &name)));
            }
            None => found.push(name),
        }
    }
    if !gone.is_empty() {
        let result =
            replace(&config, &text, |settings| !gone.iter().any(|name| has_node(settings, name)));
        if result.is_err() || found.is_empty() {
            return finish("forget", result);
        }
    }
    drop(own_lock);
    order::main(OrderArgs { names: found, socket: None, config }, "forget", Order::Forget)
}

/// Expands the words into names.
fn expand(words: &[String]) -> Result<Vec<String>, ChangeError> {
    Ok(fold::unfold(words)?)
}

/// Returns each name with its new one.
fn pairs(names: Vec<String>, new: Vec<String>) -> Result<Vec<(String, String)>, ChangeError> {
    if names.len() != new.len() {
        return Err(ChangeError::Unequal { new: new.len(), nodes: names.len() });
    }
    Ok(names.into_iter().zip(new).collect())
}

/// Applies a change to each; stops at the first error.
fn each<T>(
    verb: &str,
    what: Result<Vec<T>, ChangeError>,
    change: impl FnMut(T) -> Result<(), ChangeError>,
) -> ExitCode {
    finish(verb, what.and_then(|all| all.into_iter().try_for_each(change)))
}

/// Locks the folder of the settings, so that one of two concurrent changes is not lost. Every user
/// who can read that folder can hold the lock too, so the wait ends.
fn lock(config: &ConfigArg) -> Option<File> {
    let folder = config
        .config
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let folder = File::open(folder).ok()?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    while flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() >= deadline {
            output::note(
                "another program holds the folder of the settings; this verb goes on without it",
                "run one change at a time",
            );
            return None;
        }
        sleep(LOCK_POLL);
    }
    Some(folder)
}

fn finish(verb: &str, result: Result<(), ChangeError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.help() {
                Some(help) => output::error(&format!("nodes {verb}: {error}"), &help),
                None => output::err(&format!("{}\n", error.to_string().trim_end())),
            }
            if let ChangeError::Refused(faults) = &error {
                output::err(&format!("{}\n", settings::lines(faults)));
            }
            ExitCode::from(error.exit())
        }
    }
}

/// Returns whether the settings have a node of this name, in any file.
fn is_in_settings(config: &ConfigArg, name: &str) -> bool {
    settings::load(&config.config).is_ok_and(|merged| has_node(&merged.settings, name))
}

/// Returns why a name is not in our drop-in.
fn not_in_drop_in(config: &ConfigArg, name: &str) -> ChangeError {
    let name = name.to_owned();
    if is_in_settings(config, &name) {
        ChangeError::Elsewhere { name, drop_in: drop_in(config) }
    } else {
        ChangeError::NotInSettings(name)
    }
}

/// Returns a node that was found, by name.
fn found_node(
    socket: Option<PathBuf>,
    config: &ConfigArg,
    name: &str,
) -> Result<Node, ChangeError> {
    let status = snapshot(socket, &config.config).map_err(|unknown| match unknown {
        Unavailable::Socket(socket, error) => ChangeError::DaemonUnreachable { socket, error },
        Unavailable::Settings(faults) => ChangeError::Settings(faults),
    })?;
    let known = Inventory::of_status(&status);
    match known.nodes.into_iter().find(|node| node.name.eq_ignore_ascii_case(name)) {
        Some(node) if node.found => Ok(node),
        Some(_) => Err(not_in_drop_in(config, name)),
        None => Err(ChangeError::NoSuchNode(name.to_owned())),
    }
}

/// Writes a found node into the settings. With its address only while the cluster is in the subnet
/// of the settings: after a move it has another.
fn adopt_found(config: &ConfigArg, node: Node, name: String) -> Result<(), ChangeError> {
    let merged = settings::load(&config.config).map_err(ChangeError::Settings)?;
    let home = IpNet::V4(merged.settings.cluster.address);
    let address =
        node.address.filter(|address| home.contains(address)).map(|address| address.to_string());
    write_new(config, Entry { name, mac: node.mac, address, probes: Vec::new() })
}

fn is_own_name(name: &str) -> bool {
    config::is_heads_name(name, &settings::host_name())
}

fn write_new(config: &ConfigArg, entry: Entry) -> Result<(), ChangeError> {
    if is_own_name(&entry.name) {
        return Err(ChangeError::HeadsName { name: entry.name });
    }
    let merged = settings::load(&config.config).map_err(ChangeError::Settings)?;
    if has_node(&merged.settings, &entry.name) {
        return Err(ChangeError::NameTaken(entry.name));
    }
    let text = edit::with(&drop_in_text(config)?, &entry);
    replace(config, &text, |settings| has_node(settings, &entry.name))
}

fn has_node(settings: &Settings, name: &str) -> bool {
    settings.nodes.iter().any(|node| node.name.eq_ignore_ascii_case(name))
}

/// Returns the text of our drop-in. An unreadable one is an error, not empty: it would be
/// overwritten.
fn drop_in_text(config: &ConfigArg) -> Result<String, ChangeError> {
    settings::drop_in_text(&drop_in(config)).map_err(|fault| ChangeError::Settings(vec![fault]))
}

/// Replaces the drop-in by `text` if the settings have no errors with it and satisfy `holds`; then
/// reloads the daemon.
fn replace(
    config: &ConfigArg,
    text: &str,
    holds: impl Fn(&Settings) -> bool,
) -> Result<(), ChangeError> {
    let path = drop_in(config);
    let name = path.display().to_string();
    let (mut files, unreadable) = settings::read_files(&config.config);
    if !unreadable.is_empty() {
        return Err(ChangeError::Settings(unreadable));
    }
    match files.iter_mut().skip(1).find(|(file, _)| *file == name) {
        Some((_, known)) => text.clone_into(known),
        None => {
            // Drop-ins follow the main file, sorted by name.
            let place = files.iter().skip(1).take_while(|(file, _)| *file < name).count() + 1;
            files.insert(place, (name.clone(), text.to_owned()));
        }
    }
    let merged =
        config::resolve(&files, &settings::boards(), settings::compatible().as_deref(), None);
    if !holds(&merged.map_err(ChangeError::Refused)?.settings) {
        return Err(ChangeError::ByHand(path));
    }
    if let Err(error) = write(&path, text) {
        return Err(ChangeError::NotWritten(NotWritten { path, error }));
    }
    reload();
    Ok(())
}

/// Writes the file atomically, readable by the daemon's user. A symbolic link stays: its target is
/// written.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = &resolve_links(path)?;
    Folder::make(path.parent().unwrap_or(Path::new(".")), 0o755)?;
    folder::keep_public(path, text)
}

/// Follows symbolic links of root or of this user; the target need not exist.
///
/// # Errors
/// One of the links may belong to another user.
pub fn resolve_links(path: &Path) -> io::Result<PathBuf> {
    /// The kernel's limit (`MAXSYMLINKS`): with more, they form a loop.
    const MAX_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        if !folder::is_trusted_link(&path) {
            return Err(io::Error::other(
                "it is a link that another user may have made: remove it",
            ));
        }
        path = path.parent().unwrap_or(Path::new(".")).join(target);
    }
    Ok(path)
}

/// Makes the daemon reload the settings, if it runs.
fn reload() {
    let holder = InstanceLock::holder(&run::run_directory());
    let pid = holder.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    match pid.map(|pid| kill_process(pid, Signal::HUP)) {
        Some(Ok(())) => {}
        Some(Err(error)) => output::note(
            &format!("written, but the daemon has not read it: {error}"),
            "`sudo systemctl reload bramblegate`",
        ),
        None => output::note(
            "written; the daemon does not run and will read it at its start",
            "start it with `sudo systemctl start bramblegate`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbolic_link_stays_and_its_target_is_written() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let (link, between) = (folder.join("60-nodes.toml"), folder.join("between.toml"));
        fs::create_dir(folder.join("far")).unwrap();
        std::os::unix::fs::symlink("between.toml", &link).unwrap();
        std::os::unix::fs::symlink("far/nodes.toml", &between).unwrap();
        for text in ["# there was nothing\n", "# there was something\n"] {
            write(&link, text).unwrap();
            assert_eq!(fs::read_to_string(folder.join("far/nodes.toml")).unwrap(), text);
        }
        let links = link.is_symlink() && between.is_symlink();
        assert!(links);
    }

    #[test]
    fn a_name_that_dnsmasq_reads_as_a_time_is_refused() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let config = ConfigArg { config: folder.join("bramblegate.toml") };
        let ports = "board = \"raspberry-pi-4\"\nuplink.interfaces = [\"eth1\"]\n\
                     cluster.interface = \"eth0\"\n";
        fs::write(&config.config, ports).unwrap();
        let address = Some("192.168.50.9".to_owned());
        let refused =
            write_new(&config, Entry { name: "12h".to_owned(), address, ..Entry::default() });
        let written = drop_in(&config).exists();
        let error = refused.unwrap_err();
        assert_eq!((error.exit(), written), (exit::CONFIG, false));
        assert!(error.to_string().contains("nothing was changed"), "{error}");
        let ChangeError::Refused(faults) = error else { panic!("{error}") };
        let text = settings::lines(&faults);
        assert!(text.contains("as \"n12h\""), "{text}");
    }

    #[test]
    fn an_unreadable_drop_in_is_not_overwritten() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let config = ConfigArg { config: folder.join("bramblegate.toml") };
        fs::write(&config.config, "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n")
            .unwrap();
        let place = drop_in(&config);
        fs::create_dir(place.parent().unwrap()).unwrap();
        // As long as settings may be, and longer than the limit of the machine's own files.
        let mut text = "[[node]]\nname = \"rpi1\"\naddress = \"192.168.50.11\"\n".to_owned();
        text.extend(std::iter::repeat_n(
            "# a long comment of somebody who explains each of his nodes\n",
            100_000,
        ));
        fs::write(&place, &text).unwrap();
        let entry = |name: &str| {
            let address = Some("192.168.50.12".to_owned());
            Entry { name: name.to_owned(), address, ..Entry::default() }
        };
        let added = write_new(&config, entry("rpi2"));
        let after = fs::read_to_string(&place).unwrap();
        fs::write(&place, b"\xff").unwrap();
        let refused = [
            write_new(&config, entry("rpi3")),
            rename_one(None, &config, "rpi1", "rpi4".to_owned()),
        ];
        let left = fs::read(&place).unwrap();
        assert!(
            added.is_ok() && after.starts_with(&text) && after.contains("rpi2"),
            "{added:?}, {} bytes",
            after.len()
        );
        assert!(
            refused.iter().all(|result| matches!(result, Err(ChangeError::Settings(_)))),
            "{refused:?}"
        );
        assert_eq!(left, b"\xff");
    }

    #[test]
    fn a_name_taken_in_another_file_is_refused() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let config = ConfigArg { config: folder.join("bramblegate.toml") };
        let node = |name: &str, last: u8| {
            format!(
                "[[node]]\nname = \"{name}\"\nmac = \"b8:27:eb:00:00:0{last}\"\n\
                 address = \"192.168.50.1{last}\"\n"
            )
        };
        let ports = "board = \"raspberry-pi-4\"\nuplink.interfaces = [\"eth1\"]\n\
                     cluster.interface = \"eth0\"\n";
        fs::write(&config.config, format!("{ports}{}", node("rpi1", 1))).unwrap();
        write(&drop_in(&config), &node("spare", 2)).unwrap();
        let renamed = |to: &str| rename_one(None, &config, "spare", to.to_owned());
        let refused = [renamed("rpi1"), renamed("RPI1")];
        let unchanged = drop_in_text(&config).unwrap() == node("spare", 2);
        let free = renamed("Spare").and_then(|()| renamed("rpi2"));
        let names: Vec<_> = settings::load(&config.config)
            .unwrap()
            .settings
            .nodes
            .into_iter()
            .map(|node| node.name)
            .collect();
        for result in refused {
            assert!(matches!(result, Err(ChangeError::NameTaken(_))), "{result:?}");
        }
        assert!(unchanged && free.is_ok(), "{free:?}");
        assert_eq!(names, ["rpi1", "rpi2"]);
    }

    #[test]
    fn the_heads_own_name_is_refused() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let config = ConfigArg { config: folder.join("bramblegate.toml") };
        let label = settings::host_name().split('.').next().unwrap().to_ascii_uppercase();
        let refused = write_new(&config, Entry { name: label, ..Entry::default() });
        let error = refused.unwrap_err();
        let text = format!("{error}\n{}", error.help().unwrap());
        assert!(
            error.exit() == code::REFUSED
                && text.contains("this head node itself")
                && text.contains("hostnamectl"),
            "{text}"
        );
    }
}
