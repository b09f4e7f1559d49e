//! Another tool's `nft flush ruleset`: how long our rules are gone, against a script that watches `nft monitor`.

use std::time::{Duration, Instant};

use bramblegate::venue::shell::{run, spawn, within};
use bramblegate::venue::{Error, Result};

use crate::lab::{Ear, Head, Heard, file, median, ms};
use crate::rules;
use crate::table::Row;

const ROUNDS: usize = 11;
const QUIET: &str = "[lcd]\nbus = \"off\"\n[led]\ndevice = \"off\"\n";
const PATIENCE: Duration = Duration::from_secs(3);

pub fn measure() -> Result<Vec<Row>> {
    let head = Head::new("repair")?;
    let unprotected = {
        let _gateway = head.start(&format!("{QUIET}[gateway]\nprotect = false\n"))?;
        gone(&head)?
    };
    head.namespace.sh("nft flush ruleset")?;
    let path = rules::file(&rules::ruleset()?)?;
    let path = path.display();
    head.namespace.sh(&format!("nft -f {path}"))?;
    let scripted = {
        let pipe = file("monitor");
        let pipe = pipe.display();
        run("busybox", &["mkfifo", &pipe.to_string()])?;
        let script = format!(
            "while read -r line; do case $line in 'delete table inet bramblegate'*) nft -f {path};; esac; done <{pipe}"
        );
        let log = file("monitor.log");
        let _script = spawn(within(&head.namespace.0, "sh").args(["-c", &script]), &log)?;
        let _monitor = spawn(within(&head.namespace.0, "sh").args(["-c", &format!("exec nft monitor >{pipe}")]), &log)?;
        std::thread::sleep(Duration::from_millis(500));
        gone(&head)?
    };
    head.namespace.sh("nft flush ruleset")?;
    let kept = {
        let _gateway = head.start(QUIET)?;
        let ear = Ear::new(&head.namespace)?;
        let _ = head.namespace.sh("nft flush ruleset");
        let lost = ear.hear(Heard::Deleted, Duration::from_millis(300));
        lost.is_none() && head.namespace.sh("nft list table inet bramblegate").is_ok()
    };
    let lost = if kept { 0.0 } else { f64::NAN };
    Ok(vec![
        Row::new("rules gone after a flush", unprotected, "ms")
            .against("nft monitor | sh", scripted)
            .target("<= 10 ms", unprotected <= 10.0),
        Row::new("the same, protected", lost, "ms").target("0 ms", kept),
    ])
}

/// Milliseconds between the deletion of our table and its return.
fn gone(head: &Head) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let ear = Ear::new(&head.namespace)?;
        let listener = std::thread::spawn(move || -> Option<(Instant, Instant)> {
            Some((ear.hear(Heard::Deleted, PATIENCE)?, ear.hear(Heard::Made, PATIENCE)?))
        });
        head.namespace.sh("nft flush ruleset")?;
        let (deleted, made) =
            listener.join().ok().flatten().ok_or_else(|| Error("the rules did not come back".into()))?;
        times.push(ms(made - deleted));
        std::thread::sleep(Duration::from_millis(150));
    }
    Ok(median(&times))
}
