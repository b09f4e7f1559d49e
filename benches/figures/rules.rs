//! Loading the rule set into the kernel, the first time and again, compared with `nft -f` with the
//! same rules.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use bramblegate::decide::firewall::{Ruleset, RulesetInput, build};
use bramblegate::netlink::{Protocol, Socket};
use bramblegate::reconcile::firewall::{FirewallReconciler, encode, transact};
use bramblegate_lab::{Error, Result};

use crate::lab::{Namespace, fail, median, ms, write};
use crate::table::Row;

const ROUNDS: usize = 41;

/// A head with two uplinks.
pub fn ruleset() -> Result<Ruleset> {
    let network = "192.168.50.1/24".parse().map_err(fail("an address"))?;
    Ok(build(&RulesetInput {
        cluster_port: Some("eth0".into()),
        cluster_networks: vec![network],
        uplinks: vec!["eth1".into(), "wlan0".into()],
        allow: vec![bramblegate::config::Allow::Ssh, bramblegate::config::Allow::Icmp],
        ..RulesetInput::default()
    }))
}

/// Returns the same rules as a file for nft, which replaces the table.
pub fn file(ruleset: &Ruleset) -> Result<PathBuf> {
    write("bench.nft", &ruleset.to_string())
}

/// Runs a program to its end; returns the milliseconds.
pub fn spawned(program: &str, arguments: &[&str]) -> Result<f64> {
    let begin = Instant::now();
    let status =
        Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(ms(begin.elapsed())),
        other => Err(Error(format!("{program} {}: {other:?}", arguments.join(" ")))),
    }
}

pub fn measure() -> Result<Vec<Row>> {
    let namespace = Namespace::new("rules")?;
    namespace.on(|| {
        let (first, nft_first, _) = take_turns(true)?;
        let (again, nft_again, kernel) = take_turns(false)?;
        let exec: Result<Vec<f64>> = (0..ROUNDS).map(|_| spawned("true", &[])).collect();
        let exec = median(&exec?);
        let faster = nft_again / again;
        Ok(vec![
            Row::new("rules, first time", first, "ms")
                .against("nft -f", nft_first)
                .limit("fork + exec", exec),
            Row::new("rules, again", again, "ms")
                .against("nft -f", nft_again)
                .limit("the kernel's part", kernel)
                .target(">= 10x faster than nft -f", faster >= 10.0),
        ])
    })?
}

fn take_turns(first: bool) -> Result<(f64, f64, f64)> {
    let ruleset = ruleset()?;
    let path = file(&ruleset)?;
    let path = path.to_string_lossy();
    let wrong = |error: bramblegate::reconcile::firewall::FirewallError| Error(error.to_string());
    let (mut ours, mut theirs, mut kernel) = (Vec::new(), Vec::new(), Vec::new());
    let mut reconciler = FirewallReconciler::new();
    for _ in 0..ROUNDS {
        if first {
            spawned("nft", &["flush", "ruleset"])?;
            reconciler = FirewallReconciler::new();
        } else {
            reconciler.load(&ruleset, false).map_err(wrong)?;
        }
        let begin = Instant::now();
        reconciler.load(&ruleset, false).map_err(wrong)?;
        ours.push(ms(begin.elapsed()));
        if first {
            spawned("nft", &["flush", "ruleset"])?;
        }
        theirs.push(spawned("nft", &["-f", &path])?);
        let mut socket = Socket::open(Protocol::Netfilter, &[]).map_err(fail("nfnetlink"))?;
        let begin = Instant::now();
        let encoded = encode(&ruleset, false);
        let encoding = begin.elapsed();
        let begin = Instant::now();
        transact(&mut socket, &encoded).map_err(|refusal| Error(format!("{refusal:?}")))?;
        let _ = encoding;
        kernel.push(ms(begin.elapsed()));
    }
    Ok((median(&ours), median(&theirs), median(&kernel)))
}
