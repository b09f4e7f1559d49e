//! The real binary on the real kernel: every venue of `tests/venues/`, and stories of the gateway's
//! behaviour, each in private namespaces of its own. A test that cannot run fails.

#[path = "../common/dhcp.rs"]
mod dhcp;
#[path = "../common/flood.rs"]
mod flood;
mod responder;
mod stories;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bramblegate_lab::play::{Observer, Sight, play};
use bramblegate_lab::{Error, Result, Venue, World, inside, serve};
use libtest_mimic::{Arguments, Failed, Trial};

/// The program under test: the one just built, or the one that `BRAMBLEGATE_PROGRAM` names.
pub fn program() -> PathBuf {
    std::env::var_os("BRAMBLEGATE_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_bramblegate").into(), PathBuf::from)
}

/// No test takes longer.
const LIMIT: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve::helper(&arguments)
        .or_else(|| responder::helper(&arguments))
        .or_else(|| flood::helper(&arguments))
    {
        return code;
    }
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--enter", name] => {
            eprintln!("{}", inside::enter(&["--inside", name]));
            return ExitCode::FAILURE;
        }
        ["--inside", name] => return inner(name),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Two at a time: each waits most of its time, and more would disturb each other's clocks.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let mut trials: Vec<Trial> = venues()
        .into_iter()
        .map(|(name, _)| Trial::test(name.clone(), move || outer(&name)))
        .collect();
    trials.extend(stories::ALL.iter().map(|(name, _)| Trial::test(*name, move || outer(name))));
    if soak().is_some() {
        trials = vec![Trial::test(stories::SOAK.0, || outer(stories::SOAK.0))];
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// How long the long form of the scale test is to take, if it is wanted.
fn soak() -> Option<Duration> {
    std::env::var(stories::scale::SOAK).ok()?.parse().ok().map(Duration::from_secs)
}

/// The venue files: (`venue::NAME`, path).
fn venues() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/venues");
    let mut files: Vec<(String, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .filter_map(|path| Some((format!("venue::{}", path.file_stem()?.to_str()?), path.clone())))
        .collect();
    files.sort();
    files
}

/// Runs one test as a process in namespaces of its own.
fn outer(name: &str) -> std::result::Result<(), Failed> {
    let folder = std::env::temp_dir().join(format!(
        "bramblegate-{}-{}",
        std::process::id(),
        name.replace(':', "-")
    ));
    let log =
        std::fs::File::create(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let copy = log.try_clone().map_err(|error| error.to_string())?;
    let mut child = Command::new(std::env::current_exe().map_err(|error| error.to_string())?)
        .args(["--enter", name])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        .spawn()
        .map_err(|error| error.to_string())?;
    let start = Instant::now();
    let limit = LIMIT + soak().unwrap_or_default();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break Some(status),
            None if start.elapsed() > limit => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let text = std::fs::read(&folder)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let _ = std::fs::remove_file(&folder);
    match status {
        Some(status) if status.success() => {
            if soak().is_some() {
                print!("{text}");
            }
            Ok(())
        }
        Some(_) => Err(text.into()),
        None => Err(format!("took longer than {limit:?}\n{text}").into()),
    }
}

/// Runs one test; this is the first process of private namespaces.
fn inner(name: &str) -> ExitCode {
    let result = match venues().into_iter().find(|(venue, _)| venue == name) {
        Some((_, path)) => visit(&path),
        None => match stories::ALL.iter().chain([&stories::SOAK]).find(|(story, _)| *story == name)
        {
            Some((_, story)) => story(),
            None => Err(Error(format!("there is no test {name}"))),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays one venue file.
fn visit(path: &Path) -> Result<()> {
    let venue = Venue::read(path)?;
    let mut world = World::build(&venue, &program())?;
    world.start_gateway()?;
    let mut notes = Notes { start: Instant::now() };
    let result = play(&mut world, &venue, false, &mut notes);
    if result.is_err() {
        println!("{}", world.story());
    }
    result
}

/// Writes down what happens, for the story of a failed test.
struct Notes {
    start: Instant,
}

impl Observer for Notes {
    fn caption(&mut self, text: &str) {
        println!("{:6.2} {text}", self.start.elapsed().as_secs_f32());
    }

    fn seen(&mut self, sight: &Sight<'_>) {
        println!("{:6.2} {}", self.start.elapsed().as_secs_f32(), sight.found);
    }

    fn missing(&mut self, words: &str) {
        println!("{:6.2} {words}", self.start.elapsed().as_secs_f32());
    }

    fn look(&mut self, world: &mut World, _: Option<&bramblegate::api::status::Snapshot>) -> bool {
        // A gateway that ended will not come back: no need to wait.
        match world.gateway().and_then(|gateway| gateway.ended()) {
            Some(code) => {
                println!("the gateway ended with exit code {code}");
                false
            }
            None => true,
        }
    }
}
