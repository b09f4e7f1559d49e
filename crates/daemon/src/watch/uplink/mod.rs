//! Facts about uplinks that the kernel does not report: DHCP clients, resolvers and leases.

pub mod clients;
pub mod lease;
pub mod resolvers;
