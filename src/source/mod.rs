//! Sources turn the outside into events. A source knows nothing but [`crate::event::Event`].
