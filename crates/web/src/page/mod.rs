//! The page: the state as HTML. Pure functions; the macro that makes the HTML escapes all text.

mod colour;
mod forms;
mod glass;
mod head;
mod heads;
mod logbook;
mod nodes;
mod parts;
mod plots;
mod shares;
mod words;

use bramblegate_api::client::Known;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::heads::Head;
use crate::logbook::Entry;

pub use forms::Access;
pub use glass::spoken_led;
pub use nodes::{group, members};
pub use parts::{NODES, Parts};
pub use plots::draw as draw_plots;
pub use words::{Language, Words};

/// The files of every page, embedded so that no other server is needed.
pub const STYLE: &str = include_str!("../assets/page.css");
pub const SCRIPT: &str = include_str!("../assets/page.js");

/// What the page shows.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    pub known: &'a Known,
    /// Other heads.
    pub heads: &'a [Head],
    /// The journal's latest lines, oldest first.
    pub entries: &'a [Entry],
}

/// Draws all parts; reuses elements of nodes from `old` that have not changed.
pub fn draw(language: Language, scene: &Scene<'_>, old: &Parts) -> Parts {
    let (words, known) = (language.words(), scene.known);
    let mut parts = Parts::default();
    parts.put("state", head::state(known, words));
    parts.put("heads", heads::draw(scene.heads, words));
    parts.put("log", logbook::draw(scene.entries, words));
    let Some(snapshot) = known.snapshot.as_deref() else {
        parts.put(NODES, html! {});
        return parts;
    };
    let at = known.at;
    parts.put("address", head::address(snapshot, words));
    parts.put("glass", glass::display(&snapshot.panel.lcd, words));
    parts.put("lamp", glass::lamps(&snapshot.panel.led, words));
    parts.put("alerts", head::alerts(snapshot, words));
    parts.put("uplinks", head::uplinks(snapshot, at, words));
    parts.put("gateway", head::gateway(snapshot, words));
    parts.put("host", head::host(snapshot, words));
    parts.put("shares", shares::draw(snapshot, words));
    parts.put("count", nodes::count(snapshot, words));
    nodes::draw(&mut parts, snapshot, at, words, old);
    parts
}

/// Returns the whole page, with all parts and the id of the last event that it includes.
pub fn whole(
    language: Language,
    parts: &Parts,
    plots: &Markup,
    access: &Access,
    event: &str,
) -> String {
    let words = language.words();
    let part = |id: &str| PreEscaped(parts.get(id).unwrap_or_default().to_owned());
    let section = |id: &str, title: &str| -> Markup {
        html! { section { h2 { (title) } div id=(id) { (part(id)) } } }
    };
    html! {
        (DOCTYPE)
        html lang=(language.code()) {
            head {
                (metadata())
                script src="/page.js" defer {}
            }
            body data-event=(event) data-stale=(words.stale) data-copied=(words.copied) {
                a.skip href="#nodes" { (words.skip) }
                header {
                    h1 { "Bramblegate" }
                    p.what { (words.what) }
                    div #state role="status" aria-live="polite" { (part("state")) }
                }
                main {
                    section.panel aria-label=(words.panel) {
                        div #glass { (part("glass")) }
                        div #lamp { (part("lamp")) }
                        div #address { (part("address")) }
                    }
                    section.wrong { h2 { (words.alerts) } div #alerts aria-live="polite" { (part("alerts")) } }
                    section.nodes {
                        h2 { (words.nodes) " " span #count { (part("count")) } }
                        div #not-up { (part("not-up")) }
                        div #(NODES) { (part(NODES)) }
                    }
                    section.plots {
                        h2 {
                            a href="/plots" aria-current="true" { (words.last_hour) } " · "
                            a href="/plots?span=day" { (words.last_day) }
                        }
                        div #plots { (plots) }
                    }
                    div.facts {
                        (section("uplinks", words.uplinks))
                        (section("gateway", words.gateway))
                        (section("host", words.host))
                        // The style hides these while they are empty.
                        div #shares { (part("shares")) }
                    }
                    div.facts #heads { (part("heads")) }
                    div.log #log { (part("log")) }
                }
                footer {
                    (forms::draw(access, words))
                    a href="/status.json" { "status.json" } " · "
                    a href="/?text" { (words.as_text) }
                }
            }
        }
    }
    .into_string()
}

/// Returns the content of every page's `head` element.
fn metadata() -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { "Bramblegate" }
        link rel="stylesheet" href="/page.css";
        link rel="icon" href="data:,";
    }
}

/// Returns the page for viewers that have to log in first.
pub fn closed(language: Language, access: &Access) -> String {
    let words = language.words();
    small(language, &html! { p { (words.closed) } (forms::draw(access, words)) })
}

/// Returns the page that shows why a form was refused, with a link back. `why` is in English unless
/// it is one of the language's texts.
pub fn refused(language: Language, why: &str, access: &Access) -> String {
    let words = language.words();
    let translated = words.refusals().contains(&why);
    let content = html! {
        p.lost role="alert" lang=[(!translated).then_some(head::DAEMON)] { (why) }
        (forms::draw(access, words))
        p { a href="/" { (words.back) } }
    };
    small(language, &content)
}

/// Returns a page with a title and `content` only.
fn small(language: Language, content: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang=(language.code()) {
            head { (metadata()) }
            body {
                header { h1 { "Bramblegate" } }
                main { section { (content) } }
            }
        }
    }
    .into_string()
}
