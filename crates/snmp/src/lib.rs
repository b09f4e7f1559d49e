//! The status for SNMP: a subagent (AgentX, RFC 2741) of the system's snmpd, which keeps its own
//! tables, users and views.
//!
//! * [`follow`] keeps the daemon's state in a thread.
//! * [`mib`] lays it out as objects of `docs/observability/BRAMBLEGATE-MIB.txt`; pure.
//! * [`session`] speaks with snmpd: it registers the tree, answers, and notifies.

pub mod follow;
pub mod mib;
pub mod session;
