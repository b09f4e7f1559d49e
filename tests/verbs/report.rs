//! The archive of `report`: its content, without private data of the user.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use super::pty::Terminal;
use super::{Folder, complaint, somebody, verb};

const NODES: &str = r#"
[cluster.dhcp]
range = "10.71.72.100-10.71.72.199"
[[node]]
name = "kitchen"
mac = "b8:27:eb:12:34:56"
address = "10.71.72.11"
[[node]]
name = "attic-7"
mac = "B8-27-EB-65-43-21"
address = "10.71.72.12"
[[group]]
name = "cellar"
members = ["winecool*"]
[uplink.check]
url = "http://probe.gridmaster.net/x"
[web]
heads = ["http://annex.local"]
names = ["cluster.gridmaster.net"]
[shutdown]
except = ["printshop-*"]
"#;
const STATUS: &str = concat!(
    r#"{"schema":1,"type":"snapshot","severity":"fault","alerts":[{"severity":"fault","code":"node-down","text":"attic-7 down"}],"#,
    r#""uplink":{"address":"10.99.88.126/24","addresses":["10.99.88.126/24","2001:db8:77::7/64"],"gateway":"10.99.88.1"},"uplinks":[{"interface":"eth1","portal_url":"http://login.grandhotel.net/in"}],"#,
    r#""panel":{"lcd":{"state":"ok","lines":["10.99.88.","126"]}},"nodes":[{"name":"kitchen","mac":"b8:27:eb:12:34:56","#,
    r#""address":"10.71.72.11","health":"up"},{"name":"guest-tv","mac":"02:11:22:33:44:55","address":"10.71.72.101"}]}"#,
    "\n"
);
/// Private data that must not be in it, in lower case.
const SECRETS: [&str; 21] = [
    "kitchen",
    "attic",
    "guest-tv",
    "homelab",
    "10.71.72",
    "10.99.88",
    "2001:db8",
    "b8:27:eb",
    "b8-27-eb",
    "b827eb",
    "12:34:56",
    "65:43:21",
    "02:11:22",
    "44:55",
    ".126",
    "cellar",
    "winecool",
    "gridmaster",
    "annex",
    "printshop",
    "grandhotel",
];

/// Returns the files of an archive: name and text.
fn unpacked(bytes: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (name, text)
        })
        .collect()
}

fn settings(folder: &Folder) -> String {
    let socket = somebody(folder, STATUS.as_bytes(), true);
    let text = format!(
        "board = \"generic-pc\"\nuplink.interfaces = [\"eth1\"]\nstatus.socket = {:?}\n\
         [cluster]\ninterface = \"eth0\"\naddress = \"10.71.72.1/24\"\ndomain = \"homelab\"\n{}",
        socket.display(),
        NODES.replace("B8-27-EB-65-43-21", "b8:27:eb:65:43:21"),
    );
    let file = folder.path("settings.toml");
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn nothing_of_the_owners_is_in_the_archive_and_relations_stay() {
    let folder = Folder::new();
    let file = settings(&folder);
    let archive = folder.path("report.tar.gz");
    let output = verb("report --yes -c").arg(&file).arg("-o").arg(&archive).output().unwrap();
    let list = complaint(&output);
    assert!(output.status.success(), "{list}");
    let files = unpacked(&fs::read(&archive).unwrap());
    for (name, text) in &files {
        let listed = name.strip_prefix("bramblegate-report/").unwrap();
        assert!(list.contains(&format!("  {listed} ")), "{listed} is not listed: {list}");
        assert!(!text.is_empty(), "{name}");
        let text = text.to_ascii_lowercase();
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} is in {name}: {text}");
        }
    }
    let text = |wanted: &str| {
        let found = files.iter().find(|(name, _)| name.ends_with(wanted));
        &found.unwrap_or_else(|| panic!("no {wanted}: {list}")).1
    };
    // The same node in settings, status and dnsmasq's files.
    let settings = text("settings-0.toml");
    let value = |key: &str| {
        settings.split(&format!("{key} = \"")).nth(1).unwrap().split('"').next().unwrap()
    };
    let (name, mac, address) = (
        value("name"),
        value("mac"),
        settings.split("address = \"").nth(2).unwrap().split('"').next().unwrap(),
    );
    assert!(
        name.starts_with("NAME") && mac.starts_with("MAC") && address.ends_with(".h11"),
        "{settings}"
    );
    for other in ["status.json", "dnsmasq.txt"] {
        assert!(
            [name, mac, address].iter().all(|mask| text(other).contains(mask)),
            "{}",
            text(other)
        );
    }
    assert!(text("doctor.txt").contains("✓ the settings are right"), "{}", text("doctor.txt"));
    assert!(text("ruleset.txt").contains("table inet bramblegate"));
    let mode = fs::metadata(&archive).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// On a terminal it prompts before it writes; without one it does not write.
#[test]
fn it_asks_before_it_writes() {
    let folder = Folder::new();
    let file = settings(&folder);
    let archive = folder.path("report.tar.gz");
    let name = archive.display().to_string();
    let silent = verb("report -c").arg(&file).arg("-o").arg(&archive).output().unwrap();
    assert!(silent.status.code() == Some(64) && !archive.exists(), "{}", complaint(&silent));
    let arguments = ["report", "-c", &file, "-o", &name];
    let start = || Terminal::start(env!("CARGO_BIN_EXE_bramblegate"), &arguments, &[]);
    let mut terminal = start();
    terminal.until("status.json");
    terminal.until("? [yes]");
    terminal.keys("no\n");
    assert_eq!(terminal.end().0.code(), Some(1));
    assert!(!archive.exists());
    let mut terminal = start();
    terminal.until("? [yes]");
    terminal.keys("\n");
    assert_eq!(terminal.end().0.code(), Some(0));
    assert!(!unpacked(&fs::read(&archive).unwrap()).is_empty());
    let piped = verb("report -y -o - -c").arg(&file).output().unwrap();
    assert!(unpacked(&piped.stdout).len() > 7);
}
