//! The real program on the real kernel: every venue of `tests/venues/`, and stories of the
//! gateway's behaviour, each in private namespaces of its own. A test that cannot run fails.

#[path = "../common/dhcp.rs"]
mod dhcp;
#[path = "../common/flood.rs"]
mod flood;
#[path = "../common/frame.rs"]
mod frame;
mod responder;
mod stories;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bramblegate_lab::play::{Observer, Sight, play};
use bramblegate_lab::{Result, Venue, World, serve};

use frame::Trial;

/// The program under test: the one just built, or the one in `BRAMBLEGATE_PROGRAM`.
pub fn program() -> PathBuf {
    std::env::var_os("BRAMBLEGATE_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_bramblegate").into(), PathBuf::from)
}

/// The time limit of a test.
const LIMIT: Duration = Duration::from_secs(90);

/// They mostly wait.
const PLACES: usize = 8;

/// Tests that need processors, by the beginning of their names, and their number of slots.
const LARGE: [(&str, usize); 4] = [
    ("scale::ten_thousand", PLACES),
    ("scale::seven_hundred", PLACES / 2),
    ("flood::", PLACES / 2),
    ("crowd::", PLACES / 2),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve::helper(&arguments)
        .or_else(|| responder::helper(&arguments))
        .or_else(|| flood::helper(&arguments))
    {
        return code;
    }
    if let Some(time) = soak() {
        let (name, story) = stories::SOAK;
        return frame::run(PLACES, LIMIT + time, vec![Trial::new(name, story)]);
    }
    let stories = stories::ALL.iter().map(|(name, story)| {
        let mut trial = Trial::new(*name, story);
        let large = LARGE.iter().find(|(begin, _)| name.starts_with(begin));
        large.iter().for_each(|(_, places)| trial.places = *places);
        trial
    });
    let venues = venues().into_iter().map(|(name, path)| Trial::new(name, move || visit(&path)));
    frame::run(PLACES, LIMIT, stories.chain(venues).collect())
}

/// The duration of the long form of the scale test, if requested.
fn soak() -> Option<Duration> {
    std::env::var(stories::scale::SOAK).ok()?.parse().ok().map(Duration::from_secs)
}

/// Returns the venue files: (`venue::NAME`, path).
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

/// Runs one venue file.
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

/// Records the events, for the report of a failed test.
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
        // A gateway that ended does not come back: stop waiting.
        match world.gateway().and_then(|gateway| gateway.ended()) {
            Some(code) => {
                println!("the gateway ended with exit code {code}");
                false
            }
            None => true,
        }
    }
}
