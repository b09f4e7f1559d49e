//! Appliers: one task per output on a watch channel. The latest value wins, an equal value is no
//! work, a failure backs off and is reported once.

pub mod dhcp;
pub mod error;
pub mod firewall;
pub mod journal;
pub mod link;
pub mod panel;
pub mod routing;
pub mod rtnl;
pub mod service_manager;
pub mod status;
pub mod worker;

use std::future::Future;

use crate::event::{Applied, ApplyError, Output};

/// Brings one output to a desired value.
pub trait Reconciler: Send + 'static {
    type Desired: Clone + PartialEq + Send + Sync + 'static;
    const OUTPUT: Output;

    /// Makes it so. Called again with the same value after a failure; must be idempotent.
    fn apply(
        &mut self,
        desired: &Self::Desired,
    ) -> impl Future<Output = Result<Applied, ApplyError>> + Send;
}
