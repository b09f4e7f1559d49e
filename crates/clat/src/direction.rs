//! Which way packets are translated.

/// Names the family that packets are translated into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToV6,
    ToV4,
}
