//! Reads untrusted files within bounds ([`reading`]), and the settings with their drop-ins and
//! boards ([`settings`]). Used by all programs; `bramblegate-config` interprets the texts. Begin
//! with [`settings::load`].

pub mod reading;
pub mod settings;
