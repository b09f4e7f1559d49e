//! The status over SNMP: a subagent (AgentX, RFC 2741) of the system's snmpd, which manages users,
//! views and its own tables. It is an unprivileged process of its own, and depends on
//! `bramblegate-api` alone, whose [`bramblegate_api::client::Follower`] keeps the daemon's state.
//! Begin with [`session::keep`], the main loop.
//!
//! * [`mib`] maps the state to the objects of `docs/observability/BRAMBLEGATE-MIB.txt`; pure.
//! * [`message`] parses requests of snmpd and builds answers; pure.
//! * [`change`] finds changes that cause a notification; pure.
//! * [`session`] opens a session with snmpd, registers the tree, answers and notifies, and
//!   reconnects when the session ends.

pub mod change;
pub mod message;
pub mod mib;
pub mod session;
