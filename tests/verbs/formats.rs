//! `nodes --format`: the tools for each format accept its output, and understand the same nodes.

use std::process::Command;

use super::{Folder, somebody, verb};

const CLUSTER: &str = concat!(
    r#"{"schema":1,"type":"snapshot","severity":"ok","nodes":["#,
    r#"{"name":"rack1-slot01","address":"192.168.50.11","health":"up","group":"rack1"},"#,
    r#"{"name":"rack1-slot02","address":"192.168.50.12","health":"up","group":"rack1"},"#,
    r#"{"name":"rack2-slot01","address":"192.168.50.21","health":"up","group":"rack2"},"#,
    r#"{"name":"rack2-slot02","address":"192.168.50.22","health":"up","group":"rack2"},"#,
    r#"{"name":"rpi9","health":"up"},{"name":"rpi10","health":"up"},"#,
    r#"{"name":"rpi11","health":"down"}]}"#,
    "\n"
);
const UP: &str = "rack1-slot01 rack1-slot02 rack2-slot01 rack2-slot02 rpi10 rpi9";

fn printed(format: &str) -> String {
    let folder = Folder::new();
    let socket = somebody(&folder, CLUSTER.as_bytes(), false);
    let mut command = verb(&format!("nodes list --health up --format {format} --socket"));
    let output = command.arg(socket).arg("-c").arg(folder.path("settings.toml")).output().unwrap();
    assert!(output.status.success(), "{}", super::complaint(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the words that a tool prints, sorted.
fn words(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}; `make test` installs it"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default().replace(',', " ");
    let mut words: Vec<&str> = last.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
}

#[test]
fn clustershell_folds_alike_and_reads_the_same_nodes() {
    let folded = printed("nodeset");
    assert_eq!(folded, "rack[1-2]-slot[01-02],rpi[9-10]\n");
    let mut names = vec!["-f"];
    names.extend(UP.split(' '));
    assert_eq!(words("nodeset", &names), words("printf", &[folded.trim()]));
    assert_eq!(words("nodeset", &["-e", folded.trim()]), UP);
}

#[test]
fn pdsh_reads_the_same_nodes() {
    let folded = printed("pdsh");
    assert_eq!(folded, "rack1-slot[01-02],rack2-slot[01-02],rpi[9-10]\n");
    assert_eq!(words("pdsh", &["-Q", "-w", folded.trim()]), UP);
}

#[test]
fn without_a_daemon_the_settings_name_the_nodes_unless_a_health_is_asked_for() {
    let folder = Folder::new();
    let mut text = super::SETTINGS.to_owned();
    text += "[[node]]\nname = \"rpi1\"\naddress = \"192.168.50.11\"\n";
    std::fs::write(folder.path("settings.toml"), text).unwrap();
    let run = |words: &str| {
        let mut command = verb(words);
        command.arg("--socket").arg(folder.path("none.sock"));
        command.arg("-c").arg(folder.path("settings.toml")).output().unwrap()
    };
    let output = run("nodes --format hostfile --slots 4");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "rpi1 slots=4\n");
    let output = run("nodes --format hostfile --health up");
    assert_eq!(output.status.code(), Some(3), "health is the daemon's to know");
    assert_eq!(run("nodes --format yaml").status.code(), Some(64));
    assert_eq!(run("nodes --json --format hosts").status.code(), Some(64));
}
