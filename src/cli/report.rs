//! `bramblegate report`: one archive for a bug report, with addresses and names masked.

mod mask;
mod names;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::machine::Machine;
use super::settings::{self, ConfigArg};
use super::{VERSION, exit, output};
use crate::files::folder;
use mask::Masks;

const EXAMPLES: &str = "\
Examples:
  sudo bramblegate report                  list what is in it, ask, write the archive
  sudo bramblegate report --yes -o /tmp/report.tar.gz
  tar -xOzf bramblegate-report.tar.gz | less    read it before you send it";

/// Default path of the archive, and the name of the folder in it.
const FILE: &str = "bramblegate-report.tar.gz";
const FOLDER: &str = "bramblegate-report";
/// Limit on lines of the journal.
const JOURNAL_LINES: &str = "2000";
/// Search path of system programs.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Write an archive for a bug report, addresses and names masked
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The archive, or - [default: bramblegate-report.tar.gz]
    #[arg(short, long, value_name = "FILE", default_value = FILE, hide_default_value = true)]
    pub output: PathBuf,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub config: ConfigArg,
}

/// One file of the archive.
struct Entry {
    name: String,
    /// Description for the list.
    what: String,
    text: String,
}

/// Writes a report. Exits with 0; with 1 if the user declines, 64 if there is no terminal to ask
/// on, 71 if it cannot be written.
pub fn main(args: Args) -> ExitCode {
    let config = &args.config.config;
    let mut masks = private_names(config);
    let mut entries = gather(config);
    entries.iter().filter(|entry| entry.name == "status.json").for_each(|entry| {
        let names = serde_json::from_slice(entry.text.as_bytes())
            .map(|status: Value| names_of_status(&status));
        names.into_iter().flatten().for_each(|name| masks.hide(&name));
    });
    // In two passes: what becomes known in a later file is masked in earlier ones too.
    entries.iter().for_each(|entry| drop(masks.mask(&entry.text)));
    for entry in &mut entries {
        entry.text = masks.mask(&entry.text);
    }
    output::err(&listing(&entries, &masks));
    let to_stdout = args.output == Path::new("-");
    if !args.yes {
        match confirmed(&args.output) {
            Some(true) => {}
            Some(false) => return ExitCode::FAILURE,
            None => {
                output::error("report: there is no terminal to ask on", "use --yes");
                return ExitCode::from(exit::USAGE);
            }
        }
    }
    let written = archive(&entries).and_then(|bytes| {
        if to_stdout {
            let mut stdout = io::stdout().lock();
            return stdout.write_all(&bytes).and_then(|()| stdout.flush());
        }
        folder::keep(&args.output, &bytes)
    });
    match written {
        Ok(()) => {
            if !to_stdout {
                output::out(&format!("{} is written.\n", args.output.display()));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::error(
                &format!("report: {} cannot be written: {error}", args.output.display()),
                "name another file with --output",
            );
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// Returns the names to mask: nodes, groups, domain, serial numbers, host and user.
fn private_names(config: &Path) -> Masks {
    let mut masks = Masks::default();
    if let Ok(merged) = settings::load(config) {
        let settings = &merged.settings;
        settings.nodes.iter().for_each(|node| masks.hide(&node.name));
        settings.groups.iter().for_each(|group| masks.hide(&group.name));
        masks.hide(&settings.cluster.domain);
    }
    // Also from the text of the files: settings with errors have names too.
    for (_, text) in settings::read_files(config).0 {
        names::of_settings(&text).iter().for_each(|name| masks.hide(name));
    }
    let host = settings::host_name();
    masks.hide(host.split('.').next().unwrap_or_default());
    masks.hide(&host);
    for variable in ["SUDO_USER", "USER", "LOGNAME"] {
        let user = std::env::var(variable).ok().filter(|user| user != "root");
        user.iter().for_each(|user| masks.hide(user));
    }
    masks
}

/// Returns the names of nodes, found ones too, of their groups, and of the hosts of log-in pages.
fn names_of_status(status: &Value) -> Vec<String> {
    let list = |key: &str| status.get(key).and_then(Value::as_array).into_iter().flatten();
    let urls = list("uplinks").filter_map(|uplink| uplink.get("portal_url")?.as_str());
    list("nodes").flat_map(names_of).flatten().chain(urls.flat_map(names::of_url)).collect()
}

/// Returns the names of a node of the status: its own and its group's.
fn names_of(node: &Value) -> [Option<String>; 2] {
    ["name", "group"].map(|key| node.get(key).and_then(Value::as_str).map(str::to_owned))
}

/// Collects the files of the archive.
fn gather(config: &Path) -> Vec<Entry> {
    let machine = Machine::real();
    let mut entries = vec![Entry {
        name: "about.txt".to_owned(),
        what: "version, kernel and release".to_owned(),
        text: about(&machine),
    }];
    let mut add = |name: &str, what: &str, text: String| {
        entries.push(Entry { name: name.to_owned(), what: what.to_owned(), text });
    };
    let own = |words: &str| run_own_verb(words, config);
    add("status.json", "what the daemon knows", without_address_rows(&own("status --json")));
    add("doctor.txt", "all checks and findings", own("doctor --verbose"));
    add("ruleset.txt", "Bramblegate's rules, as they would be applied", own("print ruleset"));
    add("routes.txt", "Bramblegate's routes", own("print routes"));
    add("dnsmasq.txt", "dnsmasq's settings and nodes", own("print dnsmasq"));
    let root = "is to be had as root only, or the program is not installed\n".to_owned();
    let listing = machine.run("nft", &["list", "ruleset"]);
    let listing = listing.map(|rules| if rules.is_empty() { "none\n".to_owned() } else { rules });
    add("nft.txt", "all rules (nft list ruleset)", listing.unwrap_or_else(|| root.clone()));
    let (files, faults) = settings::read_files(config);
    for (number, (name, text)) in files.iter().enumerate() {
        let what = format!("settings: {name}");
        add(&format!("settings-{number}.toml"), &what, text.clone());
    }
    if !faults.is_empty() {
        add("settings-errors.txt", "settings that cannot be read", settings::lines(&faults) + "\n");
    }
    let journal = ["-u", "bramblegate", "-b", "--no-pager", "-n", JOURNAL_LINES];
    let journal = machine.run("journalctl", &journal).unwrap_or(root);
    add("journal.txt", "the journal since the machine booted, 2000 lines at most", journal);
    entries
}

fn about(machine: &Machine) -> String {
    let uname = rustix::system::uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let model = machine.read("/proc/device-tree/model").unwrap_or_default();
    let release = machine.read("/etc/os-release").unwrap_or_default();
    format!(
        "bramblegate {VERSION}\n{} {} {}\n{}\n\n{release}\n",
        part(uname.sysname()),
        part(uname.release()),
        part(uname.machine()),
        model.trim_end_matches('\0'),
    )
}

/// Runs a verb of this program, and returns what it prints: output, then errors.
fn run_own_verb(words: &str, config: &Path) -> String {
    let Ok(program) = std::env::current_exe() else { return String::new() };
    let output = Command::new(program)
        .args(words.split(' '))
        .arg("--config")
        .arg(config)
        .env("PATH", PATH)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output();
    output.map_or_else(
        |error| format!("{error}\n"),
        |output| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            text(&output.stdout) + &text(&output.stderr)
        },
    )
}

/// Returns the status without display rows that are part of an address: a small display breaks it
/// over rows, in which no mask finds it.
fn without_address_rows(text: &str) -> String {
    let Ok(mut status) = serde_json::from_slice::<Value>(text.as_bytes()) else {
        return text.to_owned();
    };
    let lines = status.pointer_mut("/panel/lcd/lines").and_then(Value::as_array_mut);
    let is_number = |line: &Value| {
        let text = line.as_str().unwrap_or_default().trim_end_matches(['♥', ' ']);
        text.chars().all(|c| c.is_ascii_hexdigit() || ".:".contains(c))
    };
    for line in lines.into_iter().flatten().filter(|line| is_number(line)) {
        *line = "(a number)".into();
    }
    format!("{status:#}\n")
}

fn listing(entries: &[Entry], masks: &Masks) -> String {
    let mut text = "The archive will have:\n".to_owned();
    for entry in entries {
        let (name, what, size) = (&entry.name, &entry.what, entry.text.len().div_ceil(1024));
        text += &format!("  {name:<20} {size:>4} KiB  {what}\n");
    }
    text + &format!(
        "Masked, the same thing by the same mask: {}, {}, {}.\n",
        counted(masks.count("NAME"), "name", "names"),
        counted(masks.count("NET"), "subnet", "subnets"),
        counted(masks.count("MAC"), "hardware address", "hardware addresses"),
    )
}

/// Formats a count: "1 node", "3 nodes".
fn counted(count: usize, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// Asks whether to write the archive; `None` at the end of standard input.
fn confirmed(path: &Path) -> Option<bool> {
    loop {
        let answer = output::ask(&format!("Write {}?", path.display()), "yes")?;
        match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => return Some(true),
            "n" | "no" => return Some(false),
            _ => output::err("Answer yes or no.\n"),
        }
    }
}

/// Returns the archive: tar in GNU's format, compressed by gzip, without times and users.
fn archive(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(entry.text.len()).unwrap_or_default());
        header.set_mode(0o600);
        header.set_cksum();
        let name = format!("{FOLDER}/{}", entry.name);
        archive.append_data(&mut header, name, entry.text.as_bytes())?;
    }
    archive.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_broken_over_display_rows_is_left_out() {
        let status = r#"{"panel":{"lcd":{"lines":["255.255.","255♥"]}},"uplink":null}"#;
        let text = without_address_rows(status);
        assert!(!text.contains("255"), "{text}");
        let status = r#"{"panel":{"lcd":{"lines":["NO CABLE","3/3 up"]}}}"#;
        assert!(without_address_rows(status).contains("3/3 up"));
        assert_eq!(without_address_rows("no daemon"), "no daemon");
    }
}
