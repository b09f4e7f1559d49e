//! Loads settings: parses files, merges them, fills in defaults, validates.

use super::fault::{Fault, Sources};
use super::group::numbered_names;
use super::tree::Table;
use super::{Settings, derive, fragment, keys, merge, suggest, validate};
use crate::board::{Board, BoardError, Boards, FALLBACK};

/// Settings, and where each of them was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    pub settings: Settings,
    pub(super) tree: Table,
    pub(super) sources: Sources,
}

impl Merged {
    /// Returns the fault of a node with the host name of the head: a query for that name in the
    /// cluster would return the node. [`read`] does not know the host name.
    pub fn head_fault(&self, host_name: &str) -> Option<Fault> {
        let node = self.settings.nodes.iter().find(|node| is_heads_name(&node.name, host_name))?;
        let is_own = |name: &str| name.eq_ignore_ascii_case(&node.name);
        let mut nodes = self.tree.tables("node").iter();
        let own = nodes.find(|table| table.text("name").is_some_and(is_own));
        let group = node.group.and_then(|group| self.settings.groups.get(group));
        let group = group.and_then(|group| {
            let makes = |table: &&Table| numbered_names(table).any(|(_, name)| name == group.name);
            self.tree.tables("group").iter().find(makes)
        });
        let at = own
            .map(|table| keys::NODE_NAME.place(table))
            .or_else(|| group.map(|table| keys::GROUP_NODE_NAME.place(table)))
            .unwrap_or_else(validate::file_start);
        let message = format!("node \"{}\" has the name of this head node itself", node.name);
        Some(self.sources.fault(at, message, heads_name_remedy(&node.name)))
    }
}

/// Returns whether a node's name is a machine's host name, ignoring case and domain.
pub fn is_heads_name(name: &str, host_name: &str) -> bool {
    name.eq_ignore_ascii_case(host_name.split('.').next().unwrap_or_default())
}

/// Returns the remedy for such a node.
pub fn heads_name_remedy(name: &str) -> String {
    format!(
        "give the node another name such as \"{name}-node\", or rename the head node with `sudo \
         hostnamectl hostname`"
    )
}

/// The machine's network ports, from which [`read`] can fill in interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// Built-in Ethernet ports.
    pub wired: Vec<String>,
    /// Other ports that can be an uplink: Wi-Fi, USB.
    pub other: Vec<String>,
}

/// Returns the settings from `files`: (name, text) of the main file, then its drop-ins in order.
///
/// # Errors
/// Every fault that was found, in the order of the files.
pub fn load<P: AsRef<str>, T: AsRef<str>>(
    files: &[(P, T)],
    board: &Board,
) -> Result<Settings, Vec<Fault>> {
    read(files, board, None).map(|merged| merged.settings)
}

/// Reads settings as [`load`] does, keeping where each value was written. With `ports` of one wired
/// and one other port, these fill in `cluster.interface` and `uplink.interfaces` where both are
/// missing.
///
/// # Errors
/// Every fault that was found, in the order of the files.
pub fn read<P: AsRef<str>, T: AsRef<str>>(
    files: &[(P, T)],
    board: &Board,
    ports: Option<&Ports>,
) -> Result<Merged, Vec<Fault>> {
    let mut faults = Vec::new();
    let sources = sources(files, &board.name);
    let own = [derive::defaults(), derive::board(board)];
    let texts = own.iter().map(String::as_str).chain(files.iter().map(|(_, text)| text.as_ref()));
    let mut tree = Table::default();
    let mut complete = true;
    for (source, text) in texts.enumerate() {
        match fragment::parse(&sources, source, text, &mut faults) {
            Some(layer) => merge::merge(&mut tree, layer),
            None => complete = false,
        }
    }
    // If a file cannot be parsed, missing and inconsistent settings cannot be determined.
    let settings = if complete {
        derive::complete(&mut tree, board, ports);
        validate::settings(&tree, &sources, &mut faults)
    } else {
        None
    };
    match settings {
        Some(settings) if faults.is_empty() => Ok(Merged { settings, tree, sources }),
        _ => Err(sorted(faults, &sources)),
    }
}

/// Reads settings as [`read`] does, for the board that `files` name; "auto" asks the device tree's
/// `compatible` property.
///
/// # Errors
/// Every fault that was found, that of the board first.
pub fn resolve<P: AsRef<str>, T: AsRef<str>>(
    files: &[(P, T)],
    boards: &Boards,
    compatible: Option<&[u8]>,
    ports: Option<&Ports>,
) -> Result<Merged, Vec<Fault>> {
    match boards.resolve(&board_name(files), compatible) {
        Ok(board) => read(files, &board, ports),
        Err(error) => {
            // Also report the faults of the settings, checked with the fallback board.
            let fallback = boards.named(FALLBACK).ok();
            let others = fallback
                .and_then(|fallback| read(files, &fallback, ports).err())
                .unwrap_or_default();
            let own = error.faults().iter().cloned();
            Err(std::iter::once(board_fault(files, &error)).chain(own).chain(others).collect())
        }
    }
}

/// Returns the faults that each file has by itself, for when another file cannot be read and so the
/// whole cannot be validated.
pub fn faults<P: AsRef<str>, T: AsRef<str>>(files: &[(P, T)]) -> Vec<Fault> {
    let sources = sources(files, "");
    let mut faults = Vec::new();
    for (index, (_, text)) in files.iter().enumerate() {
        fragment::parse(&sources, Sources::MAIN + index, text.as_ref(), &mut faults);
    }
    sorted(faults, &sources)
}

/// Returns the value of `board` in `files`; "auto" if it is missing or wrong.
pub fn board_name<P: AsRef<str>, T: AsRef<str>>(files: &[(P, T)]) -> String {
    let (tree, _) = merge_leniently(files);
    tree.text("board").unwrap_or("auto").to_owned()
}

/// Returns the fault for a board that cannot be loaded, at the line that names it.
fn board_fault<P: AsRef<str>, T: AsRef<str>>(files: &[(P, T)], error: &BoardError) -> Fault {
    let (tree, sources) = merge_leniently(files);
    let at = tree.get("board").map_or_else(validate::file_start, |item| item.at);
    match error {
        BoardError::Unknown { name, known, .. } => {
            let remedy = suggest::board(name, known).map_or_else(
                || {
                    let known: Vec<String> =
                        known.iter().map(|name| super::print::quote(name)).collect();
                    format!("write \"auto\" or one of {}", known.join(", "))
                },
                |known| format!("did you mean \"{known}\"?"),
            );
            sources.fault(at, format!("board: there is no board {name:?}"), remedy)
        }
        BoardError::Invalid { .. } => {
            sources.fault(at, format!("board: {error}"), "correct them, or name another board")
        }
    }
}

fn merge_leniently<P: AsRef<str>, T: AsRef<str>>(files: &[(P, T)]) -> (Table, Sources) {
    let sources = sources(files, "");
    let mut tree = Table::default();
    for (index, (_, text)) in files.iter().enumerate() {
        let layer =
            fragment::parse(&sources, Sources::MAIN + index, text.as_ref(), &mut Vec::new());
        merge::merge(&mut tree, layer.unwrap_or_default());
    }
    (tree, sources)
}

fn sources<P: AsRef<str>, T>(files: &[(P, T)], board: &str) -> Sources {
    let own = ["default".to_owned(), format!("board {board}")];
    Sources(own.into_iter().chain(files.iter().map(|(name, _)| name.as_ref().to_owned())).collect())
}

/// Limit on faults per position: one rule may be wrong for thousands of nodes.
const MAX_PER_POSITION: usize = 4;

fn sorted(mut faults: Vec<Fault>, sources: &Sources) -> Vec<Fault> {
    let rank =
        |fault: &Fault| sources.0.iter().position(|name| *name == fault.file).unwrap_or(usize::MAX);
    faults.sort_by_key(|fault| (rank(fault), fault.line, fault.column));
    faults.dedup();
    let same = |a: &Fault, b: &Fault| (&a.file, a.line, a.column) == (&b.file, b.line, b.column);
    faults.chunk_by(same).flat_map(truncated).collect()
}

/// Returns the first faults of one position, and a count of the others.
fn truncated(faults: &[Fault]) -> Vec<Fault> {
    let (first, more) = faults.split_at(faults.len().min(MAX_PER_POSITION));
    let rest = more.first().map(|fault| {
        let message = format!("and {} more errors here", more.len());
        Fault { message, remedy: "correct those above first".to_owned(), ..fault.clone() }
    });
    first.iter().cloned().chain(rest).collect()
}
