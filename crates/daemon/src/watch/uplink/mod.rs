//! Uplinks, beside what the kernel says of them: their DHCP clients, resolvers and leases.

pub mod clients;
pub mod lease;
pub mod resolvers;
