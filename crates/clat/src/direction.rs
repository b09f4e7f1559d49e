//! The direction of translation.

/// The address family that packets are translated into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToV6,
    ToV4,
}
