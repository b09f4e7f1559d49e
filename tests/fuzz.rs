//! Fuzzing with stable Rust: every fuzz target gets its corpus (`fuzz/corpus/NAME/`), then seeded
//! random mutations of it. `BRAMBLEGATE_FUZZ_SECONDS` sets a time for each target, with a new seed
//! each time; `make fuzz` sets it where cargo-fuzz is not available.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../fuzz/doors.rs"]
mod doors;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use doors::DOORS;

/// The number of mutations, without a set time.
const ROUNDS: usize = 3000;
/// The maximum size of an input.
const LONGEST: usize = 8192;
/// The time limit for an input of that size, even in a slow build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the corpus of a target, and files of the repository of the same kind, sorted by name.
fn corpus(door: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let own = format!("fuzz/corpus/{door}");
    let more: &[&str] = match door {
        "settings" => &["tests/settings/good", "tests/settings/bad"],
        "boards" => &["boards"],
        "venues" => &["tests/venues"],
        _ => &[],
    };
    let folders = std::iter::once(own.as_str()).chain(more.iter().copied());
    let entries = folders.flat_map(|path| std::fs::read_dir(folder(path)).expect(path));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(&path).expect("a file of the corpus")))
        .collect()
}

/// xorshift64*, the same sequence everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Returns a number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll()).unwrap_or(0).checked_rem(end).unwrap_or(0)
    }
}

/// Numbers at boundaries.
const EDGES: [u32; 10] = [0, 1, 3, 4, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

fn mutate(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(bytes.len());
    match dice.below(9) {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << dice.below(8)),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = dice.roll() as u8),
        2 => bytes.insert(at, dice.roll() as u8),
        3 => drop(bytes.drain(at..(at + 1 + dice.below(8)).min(bytes.len()))),
        4 => bytes.truncate(at),
        // Repeat a part.
        5 => {
            let piece = bytes[at..(at + dice.below(64)).min(bytes.len())].to_vec();
            let to = dice.below(bytes.len());
            drop(bytes.splice(to..to, piece));
        }
        // Insert a part of another input.
        6 => {
            let from = dice.below(other.len());
            let piece = other[from..(from + dice.below(64)).min(other.len())].to_vec();
            let end = (at + dice.below(64)).min(bytes.len());
            drop(bytes.splice(at..end, piece));
        }
        // Overwrite a length or a flag, in either byte order.
        7 => {
            let edge = EDGES[dice.below(EDGES.len())];
            let number = if dice.below(2) == 0 {
                edge.to_ne_bytes()
            } else {
                edge.swap_bytes().to_ne_bytes()
            };
            let width = [1, 2, 4][dice.below(3)];
            let at = at / width * width;
            bytes.iter_mut().skip(at).zip(number).take(width).for_each(|(byte, new)| *byte = new);
        }
        // Remove a line, or move it to the end.
        _ => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            if lines.is_empty() {
                return;
            }
            let line = lines.remove(dice.below(lines.len()));
            if dice.below(2) == 0 {
                lines.push(line);
            }
            *bytes = lines.concat();
        }
    }
    bytes.truncate(LONGEST);
}

/// Runs a target with an input; saves and names the input on failure.
fn take(name: &str, door: fn(&[u8]), bytes: &[u8], what: &str) {
    let begin = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| door(bytes)));
    let time = begin.elapsed();
    if result.is_ok() && time < PATIENCE {
        return;
    }
    let file = std::env::temp_dir().join(format!("bramblegate-fuzz-{name}-{}", std::process::id()));
    let _ = std::fs::write(&file, bytes);
    panic!("{name}: {what} after {time:?}; the input is in {}", file.display());
}

fn try_door(name: &str) {
    let (_, door) = *DOORS.iter().find(|(known, _)| *known == name).expect("a door of that name");
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for (path, bytes) in &corpus {
        take(name, door, bytes, &path.display().to_string());
    }
    let seconds = std::env::var("BRAMBLEGATE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    let seed = if until.is_some() { clock | 1 } else { 0x6272_616d_626c_6501 };
    let mut dice = Dice(seed);
    let mut round = 0;
    while until.map_or(round < ROUNDS, |until| Instant::now() < until) {
        let mut bytes = corpus[dice.below(corpus.len())].1.clone();
        let other = &corpus[dice.below(corpus.len())].1;
        for _ in 0..=dice.below(6) {
            mutate(&mut bytes, other, &mut dice);
        }
        take(name, door, &bytes, &format!("seed {seed:#x}, round {round}"));
        round += 1;
    }
    println!("{name}: {round} mutations of {} files", corpus.len());
}

macro_rules! doors {
    ($($name:ident)*) => {
        $(#[test] fn $name() { try_door(stringify!($name)); })*

        const TRIED: &[&str] = &[$(stringify!($name)),*];
    };
}

doors! { settings boards venues netlink nfnetlink uevents http dns echoes scripts leases offers orders packets advertisements }

#[test]
fn every_door_is_tried_here_and_by_cargo_fuzz() {
    let doors: Vec<&str> = DOORS.iter().map(|(name, _)| *name).collect();
    assert_eq!(doors, TRIED);
    let manifest = std::fs::read_to_string(folder("fuzz/Cargo.toml")).expect("fuzz/Cargo.toml");
    for name in doors {
        assert!(folder(&format!("fuzz/fuzz_targets/{name}.rs")).exists(), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
}
