//! The rule set as a typed value; its `Display` is nft syntax.

/// The table `inet bramblegate`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset {}
