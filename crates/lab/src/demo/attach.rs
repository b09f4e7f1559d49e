//! `bramblegate demo attach`: runs a command or a shell inside a running demo.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

use bramblegate::cli::{demo, exit, output};
use rustix::process::geteuid;

use super::{gateway, running};
use crate::inside::{HOME, search_path};
use crate::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  bramblegate demo attach                  the panel, live
  bramblegate demo attach status           any verb, on the head of the demo
  bramblegate demo attach nodes drain rpi2
  bramblegate demo attach shell            a shell on the head of the demo";

/// Selects a shell instead of a verb.
const SHELL: &str = "shell";

/// Run a verb inside a demo that runs, with the demo's settings
///
/// With sudo if the demo was started with sudo, else without.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The demo to attach to, where several run: the number on its screen
    #[arg(long, value_name = "PID")]
    pub demo: Option<u32>,
    /// A verb with its options, or `shell`; without one, `panel`
    #[arg(value_name = "VERB", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// Replaces this process by the verb, whose exit code is returned. Exits with 64 if the choice of
/// the demo is ambiguous, 69 if none runs, 71 if it cannot be entered.
pub fn main(args: &Args) -> ExitCode {
    let supervisor = match choose(args.demo, &running::own()) {
        Ok(supervisor) => supervisor,
        Err((code, wrong, help)) => {
            output::error(&format!("demo attach: {wrong}"), &help);
            return ExitCode::from(code);
        }
    };
    if args.words.is_empty() {
        output::err(
            "This is the panel of the demo. Other verbs: bramblegate demo attach status, nodes, \
             doctor, shell, ...\n",
        );
    }
    let error = enter(supervisor, &args.words).err().unwrap_or_else(|| Error("not started".into()));
    output::error(
        &format!("demo attach: {error}"),
        "wait until the demo's screen stands, then try again; nsenter is in util-linux",
    );
    ExitCode::from(exit::CANNOT_CREATE)
}

/// Why no demo can be attached to: exit code, error and remedy.
type Refusal = (u8, String, String);

/// Selects the demo to attach to.
fn choose(wanted: Option<u32>, running: &[u32]) -> std::result::Result<u32, Refusal> {
    let numbers = || running.iter().map(u32::to_string).collect::<Vec<_>>();
    match (wanted, running) {
        _ if demo::is_inside() => Err((
            exit::UNAVAILABLE,
            "this already is the inside of a demo".to_owned(),
            "leave out `demo attach`".to_owned(),
        )),
        (_, []) => {
            let (wrong, help) = none_runs();
            Err((exit::UNAVAILABLE, wrong, help))
        }
        (None, [only]) => Ok(*only),
        (Some(wanted), _) if running.contains(&wanted) => Ok(wanted),
        (Some(wanted), _) => Err((
            exit::USAGE,
            format!("no demo {wanted} runs"),
            format!("name one of {}", numbers().join(", ")),
        )),
        (None, _) => Err((
            exit::USAGE,
            "several demos run".to_owned(),
            format!(
                "choose one: `bramblegate demo attach --demo {}`",
                numbers().join("`, or `--demo ")
            ),
        )),
    }
}

fn none_runs() -> (String, String) {
    if !geteuid().is_root() && !running::of_root().is_empty() {
        return (
            "no demo of this user runs, but one of root".to_owned(),
            "`sudo bramblegate demo attach`".to_owned(),
        );
    }
    let mut help = "start one in another terminal with `bramblegate demo`".to_owned();
    if std::env::var_os("SUDO_UID").is_some() {
        help += "; attach without sudo to one that was started without";
    }
    ("no demo runs".to_owned(), help)
}

/// Waits for the first process of the demo's namespaces, for two seconds: the demo may have started
/// a moment ago, and on a busy machine a process can be missing from one look at `/proc`.
fn first_process(supervisor: u32) -> Option<u32> {
    (0..20).find_map(|attempt| {
        if attempt > 0 {
            sleep(Duration::from_millis(100));
        }
        running::first_process(supervisor)
    })
}

/// Replaces this process by the verb in the demo's namespaces. Returns only if that fails.
fn enter(watcher: u32, words: &[OsString]) -> Result<()> {
    let first = first_process(watcher)
        .ok_or_else(|| Error("the demo is not built yet: try again in a second".into()))?;
    let program = gateway()?;
    let mut command = Command::new("nsenter");
    command.args(["--net", "--mount", "--pid"]);
    if !geteuid().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    command.arg(format!("--target={first}"));
    if let Some(folder) = same_folder(first) {
        command.arg(OsString::from_iter([OsStr::new("--wdns="), folder.as_os_str()]));
    }
    // The head's network namespace has its name in the demo's `/run`.
    command.args(["--", "ip", "netns", "exec", "head"]);
    let mut path = OsString::from(search_path());
    if words.first().is_some_and(|word| word == SHELL) {
        // `bramblegate` in the shell is the demo's own program.
        let folder = program.parent().unwrap_or(Path::new("/"));
        path = OsString::from_iter([folder.as_os_str(), OsStr::new(":"), &path]);
        command.arg(std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()));
        command.args(words.get(1..).unwrap_or_default());
    } else {
        command.arg(&program).args(words);
        if words.is_empty() {
            command.arg("panel");
        }
    }
    command
        .env("PATH", path)
        .env("RUNTIME_DIRECTORY", format!("{HOME}/run"))
        .env("STATE_DIRECTORY", format!("{HOME}/state"))
        .env_remove("BRAMBLEGATE_CONFIG")
        .env_remove("BRAMBLEGATE_PROGRAM");
    Err(Error(format!("nsenter cannot be started: {}", command.exec())))
}

/// Returns the working folder, if it exists inside the demo too.
fn same_folder(first: u32) -> Option<PathBuf> {
    let folder = std::env::current_dir().ok()?;
    let relative = folder.strip_prefix("/").ok()?;
    Path::new(&format!("/proc/{first}/root")).join(relative).is_dir().then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_demo_needs_no_name_and_of_several_each_is_named() {
        assert_eq!(choose(None, &[7]), Ok(7));
        assert_eq!(choose(Some(9), &[7, 9]), Ok(9));
        let (code, _, help) = choose(None, &[7, 9]).unwrap_err();
        assert!(code == exit::USAGE && help.contains("--demo 7`, or `--demo 9"), "{help}");
        let (code, _, help) = choose(Some(8), &[7, 9]).unwrap_err();
        assert!(code == exit::USAGE && help.contains("7, 9"), "{help}");
        let (code, wrong, help) = choose(None, &[]).unwrap_err();
        assert!(code == exit::UNAVAILABLE && wrong == "no demo runs", "{wrong}");
        assert!(help.contains("bramblegate demo"), "{help}");
    }
}
