//! Another program's `nft flush ruleset`: how long the gateway's rules are gone, compared with a
//! script that watches `nft monitor`.

use std::time::{Duration, Instant};

use bramblegate::netlink::netfilter::GROUP_NFTABLES;
use bramblegate::netlink::{Protocol, Socket};
use bramblegate::reconcile::firewall::{encode, transact};
use bramblegate_lab::shell::{run, spawn, within};
use bramblegate_lab::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};

use crate::lab::{Ear, Head, Heard, fail, file, median, ms};
use crate::rules;
use crate::table::Row;

const ROUNDS: usize = 41;
/// Milliseconds.
const LIMIT: f64 = 10.0;
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
        let _monitor = spawn(
            within(&head.namespace.0, "sh").args(["-c", &format!("exec nft monitor >{pipe}")]),
            &log,
        )?;
        std::thread::sleep(Duration::from_millis(500));
        gone(&head)?
    };
    head.namespace.sh("nft flush ruleset")?;
    let kept = {
        let _gateway = head.start(QUIET)?;
        let mut ear = Ear::new(&head.namespace)?;
        let _ = head.namespace.sh("nft flush ruleset");
        let lost = ear.hear(Heard::Deleted, Duration::from_millis(300));
        lost.is_none() && head.namespace.sh("nft list table inet bramblegate").is_ok()
    };
    let limit = head.namespace.on(answered_at_once)??;
    let lost = if kept { 0.0 } else { f64::NAN };
    let (share, scripted_share) = (within_limit(&unprotected), within_limit(&scripted));
    let (unprotected, scripted) = (median(&unprotected), median(&scripted));
    Ok(vec![
        Row::new("rules gone after a flush", unprotected, "ms")
            .against("nft monitor | sh", scripted)
            .limit("answered at once", limit)
            .target("<= 10 ms", unprotected <= LIMIT),
        Row::new("of these, within 10 ms", share, "%").against("nft monitor | sh", scripted_share),
        Row::new("the same, protected", lost, "ms").target("0 ms", kept),
    ])
}

/// Returns the percentage within the target.
fn within_limit(times: &[f64]) -> f64 {
    100.0 * times.iter().filter(|time| **time <= LIMIT).count() as f64 / times.len() as f64
}

/// Returns the milliseconds between each deletion of the table and its return. The kernel wakes
/// this process first, since it began to listen last. That makes the time of the deletion exact,
/// but delays the repair a little.
fn gone(head: &Head) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let mut ear = Ear::new(&head.namespace)?;
        let listener = std::thread::spawn(move || -> Option<(Instant, Instant)> {
            Some((ear.hear(Heard::Deleted, PATIENCE)?, ear.hear(Heard::Made, PATIENCE)?))
        });
        head.namespace.sh("nft flush ruleset")?;
        let (deleted, made) = listener
            .join()
            .ok()
            .flatten()
            .ok_or_else(|| Error("the rules did not come back".into()))?;
        times.push(ms(made - deleted));
        std::thread::sleep(Duration::from_millis(130 + round as u64));
    }
    Ok(times)
}

/// Measures the limit: the prepared batch is sent at the first notification of the deletion. If the
/// deleting program ends soon after, the kernel holds its lock until the deleted objects are freed
/// (an RCU grace period, about 10 ms), and later requests wait.
fn answered_at_once() -> Result<f64> {
    let wrong = fail("nfnetlink");
    let mut socket = Socket::open(Protocol::Netfilter, &[]).map_err(fail("nfnetlink"))?;
    let mut ear = Socket::open(Protocol::Netfilter, &[GROUP_NFTABLES]).map_err(wrong)?;
    let batch = encode(&rules::ruleset()?, false);
    let refused = |refusal| Error(format!("{refusal:?}"));
    transact(&mut socket, &batch).map_err(refused)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        std::thread::sleep(Duration::from_millis(100));
        ear.drain();
        let flush = std::process::Command::new("nft").args(["flush", "ruleset"]).spawn();
        let mut flush = flush.map_err(fail("nft"))?;
        let timeout = rustix::event::Timespec { tv_sec: 3, tv_nsec: 0 };
        poll(&mut [PollFd::new(&ear, PollFlags::IN)], Some(&timeout)).map_err(fail("poll"))?;
        let begin = Instant::now();
        transact(&mut socket, &batch).map_err(refused)?;
        times.push(ms(begin.elapsed()));
        let _ = flush.wait();
    }
    Ok(median(&times))
}
