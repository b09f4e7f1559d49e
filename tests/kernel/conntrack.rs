//! Connection tracking in the kernel.

use bramblegate::event::Applied;
use bramblegate::policy::ConntrackPlan;
use bramblegate::sink::Sink;
use bramblegate::sink::conntrack::ConntrackSink;
use bramblegate::source::vitals;
use libtest_mimic::Trial;

use crate::lab::{sh, trial};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("conntrack::only_entries_of_the_old_address_go", only_entries_of_the_old_address_go),
        trial("conntrack::usage_is_the_kernels", usage_is_the_kernels),
    ]
}

/// A connection from `source` that the outside sees as `translated`.
fn connection(source: &str, port: u16, translated: &str) {
    sh(&format!(
        "conntrack -I -p tcp -s {source} -d 9.9.9.9 --sport {port} --dport 443 -r 9.9.9.9 -q {translated} \
         --reply-port-src 443 --reply-port-dst {port} --state ESTABLISHED -u ASSURED -t 600"
    ));
}

fn only_entries_of_the_old_address_go() {
    for port in 1000..1040 {
        connection("192.168.50.11", port, "10.99.0.126");
        connection("192.168.50.12", port, "10.77.0.5");
    }
    connection("10.99.0.126", 2000, "10.99.0.126");
    let plan = ConntrackPlan { sources: vec!["10.99.0.126".parse().unwrap()], revision: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let applied = runtime.block_on(ConntrackSink.apply(&plan)).unwrap();
    assert_eq!(applied, Applied::Conntrack { deleted: 40 });
    let left = sh("conntrack -L 2>/dev/null");
    assert_eq!(left.lines().filter(|line| line.contains("dst=10.77.0.5")).count(), 40, "{left}");
    assert_eq!(left.lines().filter(|line| line.contains("dst=10.99.0.126")).count(), 1, "the head's own: {left}");
    let nothing = runtime.block_on(ConntrackSink.apply(&ConntrackPlan::default())).unwrap();
    assert_eq!(nothing, Applied::Conntrack { deleted: 0 });
}

fn usage_is_the_kernels() {
    let before = vitals::usage().unwrap();
    connection("192.168.50.11", 1000, "10.99.0.126");
    let after = vitals::usage().unwrap();
    assert_eq!(after.0, before.0 + 1);
    let max: u32 = sh("cat /proc/sys/net/netfilter/nf_conntrack_max").trim().parse().unwrap();
    assert_eq!(after.1, max);
}
