//! Enters private namespaces and isolates their files from the machine's.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bramblegate::watch::share::unescaped;
use rustix::fs::statvfs;
use rustix::mount::{MountFlags, mount_bind, mount_bind_recursive, mount_remount};

use super::shell::run;
use super::{Error, Result, while_doing};

/// Folder of the world's files, on a private tmpfs.
pub const HOME: &str = "/run/world";

/// Environment variable that is set for processes inside the namespaces.
const MARK: &str = "BRAMBLEGATE_WORLD";

/// Required programs, and their Debian packages.
const NEEDED: [(&str, &str); 6] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("dnsmasq", "dnsmasq-base"),
    ("busybox", "busybox"),
];

/// Returns whether this process is the first one in namespaces made by [`enter`].
pub fn is_inside() -> bool {
    std::env::var_os(MARK).is_some() && std::process::id() == 1
}

/// Replaces this process by one that runs this same program with `arguments` as the first process
/// of private network, mount and PID namespaces (and a user namespace, unless we are root). All
/// processes inside end with it.
///
/// Returns only if that fails.
pub fn enter<S: AsRef<OsStr>>(arguments: &[S]) -> Error {
    let program = match prepare() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = unshare();
    command.arg(program).args(arguments).env(MARK, "1").env("PATH", search_path());
    // Ends the namespaces with the parent process; the setting survives exec.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    Error(format!("cannot start unshare: {}", command.exec()))
}

/// Returns the command that makes the namespaces; the program to run in them must be appended.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--");
    command
}

/// Makes such namespaces briefly, so that a failure is reported with a remedy before `unshare`
/// replaces this process.
fn try_namespaces() -> Result<()> {
    let tried = unshare().arg("true").stdin(Stdio::null()).output();
    let tried = tried.map_err(while_doing("cannot start unshare"))?;
    if tried.status.success() {
        return Ok(());
    }
    let reported = String::from_utf8_lossy(&tried.stderr).trim().replace(['\n', ';'], ",");
    Err(Error(if rustix::process::geteuid().is_root() {
        format!(
            "private namespaces cannot be made here ({reported}); a container may forbid them: run \
             it on the machine itself"
        )
    } else {
        format!(
            "only root may make private namespaces here ({reported}); run `sudo {} demo`, or allow \
             unprivileged user namespaces",
            shown_program()
        )
    }))
}

/// Checks everything that [`enter`] needs.
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
            "programs are missing; install them: `sudo apt install {}`",
            missing.join(" ")
        )));
    }
    try_namespaces()?;
    std::env::current_exe().map_err(while_doing("cannot tell which file this program is"))
}

/// Returns whether root entered these namespaces. Any other user is root only inside them, by a map
/// of one user (user_namespaces(7)).
pub(crate) fn is_of_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2) != Some("1")
}

const PROGRAM: &str = "bramblegate";

/// Returns the program beside this one, if both are in a build folder; installed, they are in
/// separate folders.
fn built_program() -> Option<PathBuf> {
    let built = std::env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    built.filter(|built| built.is_file())
}

/// Returns whether this program is installed, rather than run from a build folder.
pub(crate) fn is_installed() -> bool {
    built_program().is_none()
}

/// Returns the command to start the program: its path in a build folder, else its name.
pub(crate) fn shown_program() -> String {
    let Some(built) = built_program() else { return PROGRAM.to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    built.strip_prefix(here).unwrap_or(&built).display().to_string()
}

/// Returns `PATH` with the `sbin` folders, which an ordinary user's may lack.
pub(crate) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// Mounts a private `/run` and `/etc/resolv.conf`.
///
/// # Errors
/// This process is not [inside](is_inside), or a mount fails.
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
    // If systemd-resolved or resolvconf keep the file in /run, the new tmpfs hides it.
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

/// Mounts a private `/etc`, after [`furnish`]: all entries of the machine's, read-only, with the
/// world's settings at their usual place; what is written stays in memory. An overlay file system
/// would need root on kernels before 5.11.
pub fn cover_etc() -> Result<()> {
    if !is_inside() {
        return Err(Error("not inside private namespaces: refusing to cover /etc".into()));
    }
    let (machine, own) = (format!("{HOME}/machine-etc"), format!("{HOME}/etc"));
    let settings = format!("{own}/bramblegate");
    for folder in [&machine, &settings] {
        fs::create_dir_all(folder).map_err(while_doing(folder))?;
    }
    mount_bind_recursive("/etc", &machine).map_err(while_doing("/etc"))?;
    for place in mounts_below(&machine)? {
        make_read_only(&place).map_err(while_doing(place.display()))?;
    }
    let link = |target: &Path, name: &Path| {
        std::os::unix::fs::symlink(target, name).map_err(while_doing(name.display()))
    };
    for entry in fs::read_dir(&machine).map_err(while_doing(&machine))?.flatten() {
        let name = Path::new(&own).join(entry.file_name());
        match entry.file_name().to_str() {
            Some("bramblegate") => {}
            Some("resolv.conf") => link(Path::new(&format!("{HOME}/resolv.conf")), &name)?,
            // A relative link keeps its target, as its folder has the same path.
            _ => link(&fs::read_link(entry.path()).unwrap_or_else(|_| entry.path()), &name)?,
        }
    }
    for file in ["bramblegate.toml", "bramblegate.toml.d"] {
        link(&Path::new(HOME).join(file), &Path::new(&settings).join(file))?;
    }
    mount_bind(&own, "/etc").map_err(while_doing("/etc"))?;
    // Hides the saved state of the machine's own daemon.
    let state = Path::new("/var/lib/bramblegate");
    if state.is_dir() {
        run("mount", &["-t", "tmpfs", "tmpfs", &state.to_string_lossy()])?;
    }
    Ok(())
}

/// Returns the mount points at and below a folder (proc_pid_mountinfo(5), field 5).
fn mounts_below(folder: &str) -> Result<Vec<PathBuf>> {
    let table =
        fs::read_to_string("/proc/self/mountinfo").map_err(while_doing("/proc/self/mountinfo"))?;
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    Ok(places.filter(|place| place.starts_with(folder)).collect())
}

/// Remounts read-only, with all other flags, which are locked in a user namespace
/// (mount_namespaces(7)).
fn make_read_only(place: &Path) -> rustix::io::Result<()> {
    let held = statvfs(place)?.f_flag.bits();
    // These bits are the same in statvfs(3) and mount(2).
    let kept = MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC
        | MountFlags::NOATIME
        | MountFlags::NODIRATIME;
    let mut flags = MountFlags::from_bits_truncate(u32::try_from(held).unwrap_or(0)) & kept;
    // ST_RELATIME (statfs.h) differs from MS_RELATIME.
    if held & 0x1000 != 0 {
        flags |= MountFlags::RELATIME;
    }
    mount_remount(place, MountFlags::BIND | MountFlags::RDONLY | flags, "")
}
