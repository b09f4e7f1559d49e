//! The status for SNMP: a subagent (AgentX, RFC 2741) of the system's snmpd, which keeps its own
//! tables, users and views. A [`bramblegate_api::client::Follower`] keeps the daemon's state. A
//! process of its own without rights; depends on `bramblegate-api` alone. Begin with
//! [`session::keep`], which is the whole of it.
//!
//! * [`mib`] lays it out as objects of `docs/observability/BRAMBLEGATE-MIB.txt`; pure.
//! * [`message`] reads the requests of snmpd and writes answers; pure.
//! * [`change`] finds what an administrator wants to be notified of; pure.
//! * [`session`] opens a session with snmpd, registers the tree, answers and notifies, and does so
//!   again when the session ends.

pub mod change;
pub mod message;
pub mod mib;
pub mod session;
