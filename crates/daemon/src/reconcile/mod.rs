//! Reconcilers, one task per output, each on a watch channel. The latest value wins, an equal value
//! is skipped unless a resync is requested, and a failure is retried with backoff and reported
//! once.

pub mod clat;
pub mod dhcp;
pub mod error;
pub mod firewall;
pub mod journal;
pub mod link;
pub mod panel;
pub mod routing;
pub mod rtnl;
pub mod service_manager;
pub mod share;
pub mod status;
pub mod worker;

use std::future::Future;

use crate::event::{Applied, ApplyError, Output};

/// Brings one output to a desired value.
pub trait Reconciler: Send + 'static {
    type Desired: Clone + PartialEq + Send + Sync + 'static;
    const OUTPUT: Output;

    /// Discards cached state of the output, which other programs may have changed.
    /// [`apply`](Self::apply) follows.
    fn resync(&mut self) {}

    /// Applies the desired value. Must be idempotent: it is called again with the same value after
    /// a failure or for a resync.
    fn apply(
        &mut self,
        desired: &Self::Desired,
    ) -> impl Future<Output = Result<Applied, ApplyError>> + Send;
}
