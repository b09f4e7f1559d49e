//! Connection tracking in the kernel.

use bramblegate::decide::ConntrackPlan;
use bramblegate::decide::firewall::{ForwardedPort, Transport};
use bramblegate::event::Applied;
use bramblegate::reconcile::Reconciler;
use bramblegate::reconcile::firewall::conntrack::{self, ConntrackReconciler};
use bramblegate::watch::host;

use crate::frame::Trial;
use crate::lab::{sh, trial};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("conntrack::only_entries_of_the_old_address_go", only_entries_of_the_old_address_go),
        trial(
            "conntrack::only_datagrams_of_a_port_that_leads_elsewhere_go",
            only_datagrams_of_a_port_go,
        ),
        trial("conntrack::usage_is_the_kernels", usage_is_the_kernels),
    ]
}

/// Returns a connection from `source` that other hosts see as `translated`.
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
    let plan = ConntrackPlan { sources: vec!["10.99.0.126".parse().unwrap()] };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let applied = runtime.block_on(ConntrackReconciler.apply(&plan)).unwrap();
    assert_eq!(applied, Applied::Conntrack { deleted: 40 });
    let left = sh("conntrack -L 2>/dev/null");
    assert_eq!(left.lines().filter(|line| line.contains("dst=10.77.0.5")).count(), 40, "{left}");
    assert_eq!(
        left.lines().filter(|line| line.contains("dst=10.99.0.126")).count(),
        1,
        "the head's own: {left}"
    );
    let nothing = runtime.block_on(ConntrackReconciler.apply(&ConntrackPlan::default())).unwrap();
    assert_eq!(nothing, Applied::Conntrack { deleted: 0 });
}

/// Returns a connection from the laptop to the head's port, which a node answers from its own.
fn led(protocol: &str, more: &str, listen: u16, node: &str, port: u16) {
    sh(&format!(
        "conntrack -I -p {protocol} -s 10.99.0.20 -d 10.99.0.126 --sport {listen} --dport {listen} -r {node} -q 10.99.0.20 \
         --reply-port-src {port} --reply-port-dst {listen} -t 600 {more}"
    ));
}

fn only_datagrams_of_a_port_go() {
    led("udp", "", 5000, "192.168.50.11", 5005);
    led("udp", "", 5001, "192.168.50.11", 5005);
    led("udp", "", 5002, "192.168.50.12", 5005);
    led("udp", "", 5003, "192.168.50.11", 5006);
    led("tcp", "--state ESTABLISHED -u ASSURED", 5000, "192.168.50.11", 5005);
    // The head's own connection with the same port number.
    led("udp", "", 5005, "10.99.0.126", 5005);
    let port = |listen, last, port| ForwardedPort {
        transport: Transport::Udp,
        listen,
        to: [192, 168, 50, last].into(),
        port,
    };
    let ports = [port(5000, 11, 5005), port(5002, 11, 5005), port(5003, 11, 5005)];
    assert_eq!(conntrack::delete_forwarded(&ports), Ok(1));
    let left = sh("conntrack -L 2>/dev/null");
    assert_eq!(left.lines().filter(|line| line.contains("dport=500")).count(), 5, "{left}");
    assert!(
        !left.lines().any(|line| line.starts_with("udp") && line.contains("dport=5000")),
        "{left}"
    );
}

fn usage_is_the_kernels() {
    let before = host::usage().unwrap();
    connection("192.168.50.11", 1000, "10.99.0.126");
    let after = host::usage().unwrap();
    assert_eq!(after.0, before.0 + 1);
    let max: u32 = sh("cat /proc/sys/net/netfilter/nf_conntrack_max").trim().parse().unwrap();
    assert_eq!(after.1, max);
    let table = sh("ip -4 ntable show name arp_cache");
    let mut words = table.split_whitespace().skip_while(|word| *word != "thresh3").skip(1);
    let size: u32 = words.next().unwrap().parse().unwrap();
    let (entries, most) = host::Neighbours::default().usage().unwrap();
    assert!(most == size && entries <= most, "{entries} neighbours of {most}: {table}");
}
