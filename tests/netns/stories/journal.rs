//! The journal, as journald receives it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::{Error, Result};

use super::scene::{PLAIN, before_start, ensure, is, until, wait_online};

const SOCKET: &str = "/run/systemd/journal/socket";

/// What a socket instead of journald's has received; `/run` is the test's own. The lengths of texts
/// with line breaks are left in.
struct Journald(Receiver<String>);

impl Journald {
    fn start() -> Result<Self> {
        let error = |error: std::io::Error| Error(format!("{SOCKET}: {error}"));
        if let Some(folder) = Path::new(SOCKET).parent() {
            fs::create_dir_all(folder).map_err(error)?;
        }
        let _ = fs::remove_file(SOCKET);
        // The limit that systemd sets: with the kernel's default of ten, a busy machine loses
        // records of a burst.
        const QUEUE: &str = "/proc/sys/net/unix/max_dgram_qlen";
        fs::write(QUEUE, "512").map_err(|error| Error(format!("{QUEUE}: {error}")))?;
        let socket = UnixDatagram::bind(SOCKET).map_err(error)?;
        let (sender, receiver) = channel();
        // It ends with the test's process.
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text =
                    String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Returns what has been received since the last call.
    fn records(&self) -> Vec<String> {
        self.0.try_iter().collect()
    }
}

fn find<'r>(records: &'r [String], text: &str) -> Result<&'r String> {
    let found = records.iter().find(|record| record.contains(text));
    found.ok_or_else(|| Error(format!("no record has {text:?}:\n{}", records.join("\n"))))
}

/// If standard error is the journal's, each change of fact is one record with its fields, and no
/// line is lost.
pub fn changes_are_records_with_fields() -> Result<()> {
    before_start(PLAIN, |world| {
        let journald = Journald::start()?;
        let log = PathBuf::from(format!("{HOME}/journal.log"));
        let file = fs::File::create(&log).and_then(|file| file.metadata());
        let file = file.map_err(|error| Error(format!("{}: {error}", log.display())))?;
        let stream = format!("{}:{}", file.dev(), file.ino());
        let environment = [("JOURNAL_STREAM", stream.as_str()), ("RUST_LOG", "files=trace")];
        world.start_gateway_by(&[], &environment)?;
        wait_online(world)?;
        until("the node is up", || is(world, "nodes.rpi2.health", "up"))?;
        let mut reported = journald.records();
        world.node_down("rpi2")?;
        until("the node is down", || is(world, "nodes.rpi2.health", "down"))?;
        let death = journald.records();
        reported.extend(death.iter().cloned());
        let address = find(&reported, "MESSAGE=eth1 has 10.99.0.126/24")?;
        for field in [
            "UPLINK=eth1\n",
            "ADDRESS=10.99.0.126/24\n",
            "PRIORITY=5\n",
            "MESSAGE_ID=cdb749dd218e4b53a52952c9",
        ] {
            ensure(&format!("{field:?} in {address:?}"), address.contains(field))?;
        }
        ensure(
            "the gateway's address",
            find(&reported, "MESSAGE=eth1: the internet answers")?.contains("GATEWAY=10.99.0.1\n"),
        )?;
        ensure(
            "a generation",
            find(&reported, "MESSAGE=rule set ")?.contains("RULESET_GENERATION="),
        )?;
        let node = find(&reported, "MESSAGE=rpi2 is down")?;
        ensure("node and health", node.contains("NODE=rpi2\n") && node.contains("HEALTH=down\n"))?;
        let rules = find(&reported, "about to apply this rule set:\n")?;
        ensure(
            "for those who debug",
            rules.contains("PRIORITY=7\n") && rules.contains("table inet bramblegate"),
        )?;
        let detail = find(&reported, "TARGET=files\n")?;
        ensure(&format!("a detail that was asked for: {detail}"), detail.contains("PRIORITY=7\n"))?;
        let times = death
            .iter()
            .filter(|record| record.contains("NODE=rpi2\n") && record.contains("HEALTH=down"))
            .count();
        ensure(&format!("once, not {times} times"), times == 1)?;
        until("nothing more to tell", || journald.records().is_empty())?;
        std::thread::sleep(Duration::from_secs(2));
        let idle = journald.records();
        ensure(&format!("none per poll: {idle:?}"), idle.is_empty())?;
        let text = fs::read_to_string(&log).unwrap_or_default();
        ensure(&format!("nothing on standard error: {text}"), text.is_empty())
    })
}
