//! Withdraws an IPv6 network from the nodes, which dnsmasq does not: neither when it stops nor when
//! another network is configured. A host would keep its addresses for ever, and the default route
//! until the router lifetime ends.

use std::io;

use bramblegate_clat::{Advertisement, PrefixInformation};
use ipnet::Ipv6Net;
use tokio::time::sleep;
use tracing::debug;

use super::advertisement::{SPACING, open, resolvers, send_to_all};
use crate::decide::dhcp::{ROUTER_LIFETIME, WithdrawalPlan};
use crate::event::{Applied, ApplyError, Mac, Output};
use crate::reconcile::Reconciler;
use crate::supervise::Task;

/// `MAX_FINAL_RTR_ADVERTISEMENTS` (RFC 4861, section 10).
const FINAL: u8 = 3;
/// The valid lifetime of a withdrawn network, in seconds. A host shortens its own to this at most
/// (RFC 4862, section 5.5.3 e). Connections between nodes end less abruptly than by 0.
const VALID: u32 = 2 * 60 * 60;

/// Sends the last advertisements of a network.
#[derive(Debug, Default)]
pub struct WithdrawalReconciler {
    desired: Option<WithdrawalPlan>,
    task: Option<Task>,
}

impl Reconciler for WithdrawalReconciler {
    type Desired = Option<WithdrawalPlan>;
    const OUTPUT: Output = Output::Withdrawal;

    async fn apply(&mut self, desired: &Option<WithdrawalPlan>) -> Result<Applied, ApplyError> {
        if self.desired != *desired {
            self.desired.clone_from(desired);
            self.task = desired.clone().map(|plan| Task::spawn(withdraw(plan)));
        }
        Ok(Applied::Done)
    }
}

/// Sends the last advertisements. dnsmasq may still send one of before after the first.
async fn withdraw(plan: WithdrawalPlan) {
    for _ in 0..FINAL {
        if let Err(error) = send(&plan) {
            debug!(port = %plan.port, %error, "a network was not withdrawn from the nodes");
        }
        sleep(SPACING).await;
    }
}

fn send(plan: &WithdrawalPlan) -> io::Result<()> {
    let advertisement = Advertisement {
        hop_limit: 64,
        lifetime: if plan.is_router { ROUTER_LIFETIME } else { 0 },
        link_layer: plan.mac.map(|Mac(mac)| mac),
        mtu: Some(plan.mtu),
        prefixes: plan.networks.iter().map(ended).collect(),
        resolvers: resolvers(plan.resolver, if plan.is_router { u32::MAX } else { 0 }),
        ..Advertisement::default()
    };
    send_to_all(&open(&plan.port, plan.index)?, plan.index, &advertisement)
}

/// Withdraws the networks from the nodes behind this port, and the head as their router, by one
/// message: the gateway is about to be removed.
///
/// # Errors
/// The message cannot be sent.
pub fn end(port: &str, index: u32, networks: &[Ipv6Net]) -> io::Result<()> {
    let advertisement = Advertisement {
        hop_limit: 64,
        prefixes: networks.iter().map(ended).collect(),
        ..Advertisement::default()
    };
    send_to_all(&open(port, index)?, index, &advertisement)
}

/// Returns the option that withdraws a network.
fn ended(net: &Ipv6Net) -> PrefixInformation {
    PrefixInformation {
        address: net.network(),
        length: net.prefix_len(),
        on_link: true,
        autonomous: true,
        valid: VALID,
        preferred: 0,
    }
}
