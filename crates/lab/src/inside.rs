//! Getting into private namespaces, and making them private enough.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::shell::run;
use super::{Error, Result, while_doing};

/// Where the world keeps its files: on a tmpfs that only it can see.
pub const HOME: &str = "/run/world";

/// Set for the process inside, so that it knows where it is.
const MARK: &str = "BRAMBLEGATE_WORLD";

/// Programs that are needed, and the Debian packages that bring them.
const NEEDED: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("dnsmasq", "dnsmasq-base"),
    ("busybox", "busybox"),
];

/// Returns whether this process already is the first one of private namespaces made by [`enter`].
pub fn is_inside() -> bool {
    std::env::var_os(MARK).is_some() && std::process::id() == 1
}

/// Replaces this process by one that runs this same program with `arguments` as the first process
/// of private network, mount and PID namespaces (and a user namespace, if we are not root). Whoever
/// kills it kills all that runs inside.
///
/// Returns only if that fails.
pub fn enter<S: AsRef<OsStr>>(arguments: &[S]) -> Error {
    let program = match prepare() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--").arg(program).args(arguments).env(MARK, "1").env("PATH", search_path());
    // The namespaces should go when whoever started us goes: the setting outlives exec.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    Error(format!("cannot start unshare: {}", command.exec()))
}

/// Looks for everything [`enter`] needs, so that what is missing can be named.
fn prepare() -> Result<PathBuf> {
    let path = search_path();
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| {
            !path.split(':').any(|folder| Path::new(folder).join(program).exists())
        })
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        return Err(Error(format!(
            "programs are missing; install them: apt install {}",
            missing.join(" ")
        )));
    }
    if !rustix::process::geteuid().is_root() {
        let allowed = Command::new("unshare")
            .args(["--user", "--map-root-user", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !allowed {
            return Err(Error(
                "this kernel lets only root make namespaces: run it with sudo, or allow \
                 unprivileged user namespaces"
                    .into(),
            ));
        }
    }
    std::env::current_exe().map_err(while_doing("cannot tell which file this program is"))
}

/// `PATH` with the folders of administrators' programs, which an ordinary user's may lack.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// Gives this mount namespace its own `/run` and its own `/etc/resolv.conf`. Only to be called
/// inside.
pub fn furnish() -> Result<()> {
    if !is_inside() {
        return Err(Error("not inside private namespaces: refusing to mount anything".into()));
    }
    let resolvers = fs::canonicalize("/etc/resolv.conf").ok();
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    fs::create_dir_all("/run/netns").map_err(while_doing("/run/netns"))?;
    fs::create_dir_all(HOME).map_err(while_doing(HOME))?;
    let own = format!("{HOME}/resolv.conf");
    fs::write(&own, "").map_err(while_doing(&own))?;
    // Where systemd-resolved or resolvconf keep the file in /run, the new tmpfs hides it: put ours
    // in its place.
    let target = resolvers.unwrap_or_else(|| PathBuf::from("/etc/resolv.conf"));
    if target.starts_with("/run") {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(while_doing(folder.display()))?;
        }
        fs::write(&target, "").map_err(while_doing(target.display()))?;
    }
    if target.exists() {
        run("mount", &["--bind", &own, &target.to_string_lossy()])?;
    }
    Ok(())
}
