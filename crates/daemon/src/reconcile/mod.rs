//! Reconcilers: one task per output on a watch channel. The latest value wins, an equal value is no
//! work unless the reconciler is rung, a failure backs off and is reported once.

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

    /// Takes in that others may have changed what it brought about: what it remembers of that is
    /// not to be relied upon. [`apply`](Self::apply) follows.
    fn resync(&mut self) {}

    /// Makes it so. Called again with the same value after a failure, or when it is rung; must be
    /// idempotent.
    fn apply(
        &mut self,
        desired: &Self::Desired,
    ) -> impl Future<Output = Result<Applied, ApplyError>> + Send;
}
