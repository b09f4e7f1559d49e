//! `ssh-config --install`, checked by ssh itself.

use std::fs;
use std::process::Command;

use super::{Folder, SNAPSHOT, complaint, somebody, verb};

/// ssh takes the home folder from the user database and not from its environment: the test's is
/// mounted there, in a mount namespace.
fn ssh(folder: &Folder, host: &str) -> String {
    let script = "home=$(getent passwd \"$(id -u)\" | cut -d: -f6)
        mount --bind \"$1\" \"$home\" && exec ssh -G \"$2\"";
    let root = rustix::process::geteuid().is_root();
    let output = Command::new("unshare")
        .args([if root { "-m" } else { "-rm" }, "sh", "-c", script, "sh"])
        .arg(&folder.0)
        .arg(host)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn ssh_goes_by_what_was_installed_and_by_what_was_there() {
    let folder = Folder::new();
    let socket = somebody(&folder, SNAPSHOT.as_bytes(), true);
    let install = |options: &str| {
        let mut command = verb(&format!("ssh-config --install --direct --user pi {options}"));
        let output = command
            .env("HOME", &folder.0)
            .arg("--socket")
            .arg(&socket)
            .arg("-c")
            .arg(folder.path("settings.toml"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", complaint(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    fs::create_dir(folder.path(".ssh")).unwrap();
    fs::write(folder.path(".ssh/config"), "Host other\n  User me\n").unwrap();
    assert!(install("--dry-run").ends_with("Nothing was changed.\n"));
    assert!(!ssh(&folder, "rpi1").contains("192.168.50.11"));
    install("");
    install("");
    let goes = ssh(&folder, "rpi1");
    assert!(goes.contains("hostname 192.168.50.11\n") && goes.contains("user pi\n"), "{goes}");
    assert!(ssh(&folder, "other").contains("user me\n"));
    let config = fs::read_to_string(folder.path(".ssh/config")).unwrap();
    assert_eq!(config.matches("Include").count(), 1, "{config}");
}
