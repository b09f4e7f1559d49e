//! Reads files that others wrote: any of them within bounds ([`reading`]), and the settings, their
//! drop-ins and boards ([`settings`]). For every program of the house; what the texts mean is
//! known to `bramblegate-config`. Begin with [`settings::load`].

pub mod reading;
pub mod settings;
