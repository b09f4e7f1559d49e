//! Stories of the gateway's behaviour on the real kernel.

mod ground;

use bramblegate::venue::Result;

/// A story: builds its own world and says what was not as it should be.
pub type Story = fn() -> Result<()>;

/// All stories, by name.
pub const ALL: &[(&str, Story)] = &[
    ("ground::world_stands_without_a_gateway", ground::world_stands_without_a_gateway),
    ("ground::lease_changes_reach_the_head", ground::lease_changes_reach_the_head),
];
