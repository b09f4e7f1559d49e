//! The time from the start of the program to rules in the kernel, compared with `nft -f`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use bramblegate_lab::{Error, Result};

use crate::lab::{Ear, Head, Heard, fail, median, ms};
use crate::rules;
use crate::table::Row;

const ROUNDS: usize = 15;
const PATIENCE: Duration = Duration::from_secs(5);

pub fn measure() -> Result<Vec<Row>> {
    let head = Head::new("start")?;
    let settings = head
        .settings("[lcd]\nbus = \"off\"\n[led]\ndevice = \"off\"\n[gateway]\nprotect = false\n")?;
    let file = rules::file(&rules::ruleset()?)?;
    let (mut ours, mut theirs, mut exec) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let command = head.command(&settings);
        ours.push(until_made(&head, command, true)?);
        let mut command = std::process::Command::new("nft");
        command.arg("-f").arg(&file);
        theirs.push(until_made(&head, command, false)?);
        exec.push(head.namespace.on(|| rules::spawned("true", &[]))??);
    }
    let (ours, theirs) = (median(&ours), median(&theirs));
    Ok(vec![
        Row::new("start to rules in place", ours, "ms")
            .against("nft -f", theirs)
            .limit("fork + exec", median(&exec))
            .target("<= 1.2x nft -f", ours <= 1.2 * theirs),
    ])
}

/// Returns the milliseconds from the start of a program, in a head without rules, until the kernel
/// reports the gateway's table.
fn until_made(head: &Head, mut command: std::process::Command, stays: bool) -> Result<f64> {
    head.namespace.sh("nft flush ruleset")?;
    let mut ear = Ear::new(&head.namespace)?;
    let listener = std::thread::spawn(move || ear.hear(Heard::Made, PATIENCE));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (begin, mut child) = head
        .namespace
        .on(move || {
            let begin = Instant::now();
            command.spawn().map(|child| (begin, child))
        })?
        .map_err(fail("cannot start it"))?;
    let made = listener.join().ok().flatten();
    if stays {
        // Kill it at once: its orderly end is not part of this.
        let _ = child.kill();
    }
    let _ = child.wait();
    made.map(|made| ms(made - begin)).ok_or_else(|| Error("no rules in 5 s".into()))
}
