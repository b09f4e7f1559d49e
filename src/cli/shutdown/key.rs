//! Checks the key of `[shutdown]`, before anything happens.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Message and remedy.
pub type Flaw = (String, String);

/// Checks type, owner and mode of the file.
///
/// # Errors
/// It is missing, is no file, belongs to another user than root, or is open to more than its owner.
pub fn check_file(path: &Path) -> Result<(), Flaw> {
    let shown = path.display();
    let make =
        || format!("make one: sudo ssh-keygen -t ed25519 -N '' -C bramblegate-shutdown -f {shown}");
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => (format!("shutdown.key: there is no {shown}"), make()),
        _ => (format!("shutdown.key: {shown}: {error}"), "run it with sudo".to_owned()),
    })?;
    if !found.is_file() {
        return Err((format!("shutdown.key: {shown} is not a file"), make()));
    }
    let fix = || format!("sudo chown root: {shown} && sudo chmod 600 {shown}");
    if found.uid() != 0 {
        let message = format!("shutdown.key: {shown} belongs to another user than root");
        return Err((message, fix()));
    }
    if found.mode() & 0o077 != 0 {
        let message = format!(
            "shutdown.key: {shown} is open to other users (mode {:o})",
            found.mode() & 0o777
        );
        return Err((message, fix()));
    }
    Ok(())
}

/// Checks the key as [`check_file`] does, and by `ssh-keygen` if this user may read it: a dry run
/// needs no more.
///
/// # Errors
/// As [`check_file`]; it is no private key, or has a passphrase.
pub fn check_key(path: &Path) -> Result<(), Flaw> {
    check_file(path)?;
    let opened = std::fs::File::open(path);
    if opened.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return Ok(());
    }
    let read = Command::new("ssh-keygen")
        .args(["-y", "-P", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            let message = format!("ssh-keygen cannot be started: {error}");
            (message, "install the package openssh-client".to_owned())
        })?;
    if read.status.success() {
        return Ok(());
    }
    let shown = path.display();
    let words = String::from_utf8_lossy(&read.stderr).to_lowercase();
    if words.contains("passphrase") {
        let message = format!("shutdown.key: {shown} has a passphrase, which no program can type");
        return Err((message, format!("take it away: sudo ssh-keygen -p -N '' -f {shown}")));
    }
    let help = "name the private key, not the file whose name ends in .pub".to_owned();
    Err((format!("shutdown.key: {shown} is not a private ssh key"), help))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn message(path: &Path) -> String {
        check_file(path)
            .map_or_else(|(message, help)| format!("{message}; {help}"), |()| String::new())
    }

    #[test]
    fn a_wrong_key_file_is_reported_with_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(message(&path).contains("there is no") && message(&path).contains("ssh-keygen -t"));
        assert!(message(folder.path()).contains("is not a file"));
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        let expected = if is_root { "mode 640" } else { "belongs to another user" };
        assert!(message(&path).contains(expected), "{}", message(&path));
        assert!(message(&path).contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(message(&path).is_empty(), is_root);
    }
}
