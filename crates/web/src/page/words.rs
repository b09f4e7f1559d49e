//! The languages of the page, one file each.

mod de;
mod en;

use bramblegate_api::Word;
use bramblegate_api::status::{
    DeviceState, DhcpStatus, NodeHealth, Overlap, Pattern, Severity, UplinkState, VenueKind,
};

use super::colour::Colour;
use super::shares::State;

/// A language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    English,
    German,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// Returns the language's tag (RFC 5646).
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    pub const fn words(self) -> &'static Words {
        match self {
            Self::English => &en::WORDS,
            Self::German => &de::WORDS,
        }
    }

    /// Returns the best language for `Accept-Language` (RFC 9110, section 12.5.4), or else English.
    pub fn accepted(header: &str) -> Self {
        let mut best = (Self::English, 0.0);
        for range in header.split(',') {
            let mut fields = range.split(';').map(str::trim);
            let tag = fields.next().unwrap_or_default().to_ascii_lowercase();
            let quality = fields
                .find_map(|field| field.strip_prefix("q="))
                .map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
            let primary = tag.split('-').next().unwrap_or_default();
            let language = Self::ALL.into_iter().find(|language| language.code() == primary);
            if let Some(language) = language.filter(|_| quality > best.1) {
                best = (language, quality);
            }
        }
        best.0
    }
}

/// Every text of the page.
#[derive(Debug)]
pub struct Words {
    pub alerts: &'static str,
    pub as_text: &'static str,
    pub blocked: &'static str,
    pub closed: &'static str,
    pub heads: &'static str,
    pub log: &'static str,
    pub lost_head: &'static str,
    pub copied: &'static str,
    pub copy: &'static str,
    pub dhcp: &'static str,
    pub disk_free: &'static str,
    pub gateway: &'static str,
    pub group_none: &'static str,
    pub host: &'static str,
    pub last_day: &'static str,
    pub last_hour: &'static str,
    pub lease_left: &'static str,
    pub load: &'static str,
    pub lost: &'static str,
    pub memory_free: &'static str,
    pub nat: &'static str,
    pub next_page: &'static str,
    pub no: &'static str,
    pub no_address: &'static str,
    pub no_display: &'static str,
    pub unlit: &'static str,
    pub no_nodes: &'static str,
    pub no_uplink: &'static str,
    pub nodes: &'static str,
    pub not_started: &'static str,
    pub nothing_wrong: &'static str,
    pub open_portal: &'static str,
    pub overlap: &'static str,
    pub panel: &'static str,
    pub plot_nodes: &'static str,
    pub plot_round_trip: &'static str,
    pub plot_traffic: &'static str,
    pub read_only: &'static str,
    pub repaired: &'static str,
    pub router: &'static str,
    pub skip: &'static str,
    pub stale: &'static str,
    pub subnet: &'static str,
    pub temperature: &'static str,
    pub under_voltage: &'static str,
    pub unknown: &'static str,
    pub uplinks: &'static str,
    pub venue: &'static str,
    pub up_of: &'static str,
    pub acknowledge: &'static str,
    pub acknowledged: &'static str,
    pub drain: &'static str,
    pub log_in: &'static str,
    pub log_out: &'static str,
    pub node: &'static str,
    pub password: &'static str,
    pub resume: &'static str,
    pub forwarding: &'static str,
    pub internet_by: &'static str,
    pub nodes_up: &'static str,
    pub of: &'static str,
    pub plot_highest: &'static str,
    pub plot_loss: &'static str,
    pub plot_lowest: &'static str,
    pub plot_mean: &'static str,
    pub since: &'static str,
    pub ssh_nodes: &'static str,
    pub plot_day_ago: &'static str,
    pub plot_hour_ago: &'static str,
    pub plot_now: &'static str,
    pub yes: &'static str,
    pub what: &'static str,
    pub blank: &'static str,
    pub no_plots: &'static str,
    /// The decimal separator.
    pub(super) point: &'static str,
    pub errors: &'static str,
    pub free: &'static str,
    pub read_access: &'static str,
    pub shares: &'static str,
    pub used_by: &'static str,
    pub write_access: &'static str,
    pub shutting_down: &'static str,
    pub still_up: &'static str,
    pub back: &'static str,
    pub more: &'static str,
    pub not_up: &'static str,
    pub no_password: &'static str,
    pub too_many_tries: &'static str,
    pub wrong_password: &'static str,
    pub logged_out: &'static str,
    pub(super) severity: fn(Severity) -> &'static str,
    pub(super) health: fn(NodeHealth) -> &'static str,
    pub(super) uplink: fn(UplinkState) -> &'static str,
    pub(super) overlap_of: fn(Overlap) -> &'static str,
    pub(super) dhcp_of: fn(DhcpStatus) -> &'static str,
    pub(super) pattern: fn(Pattern) -> &'static str,
    pub(super) device: fn(DeviceState) -> &'static str,
    pub(super) colour: fn(Colour) -> &'static str,
    pub(super) share: fn(State) -> &'static str,
    pub(super) venue_of: fn(VenueKind) -> &'static str,
}

impl Words {
    /// Returns a number with the language's decimal separator.
    pub(super) fn number(&self, text: &str) -> String {
        text.replace('.', self.point)
    }

    /// Returns the texts with which a form is refused.
    pub(super) const fn refusals(&self) -> [&'static str; 4] {
        [self.no_password, self.too_many_tries, self.wrong_password, self.logged_out]
    }
}

/// Returns the text of a word; the word itself if it is unknown.
pub(super) fn text<T: Copy>(word: &Word<T>, texts: fn(T) -> &'static str) -> &str {
    match word {
        Word::Known(word) => texts(*word),
        Word::Other(word) => word,
    }
}
