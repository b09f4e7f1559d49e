//! The forms for log-in and orders.

use maud::{Markup, html};

use super::words::Words;

/// What the viewer of a page may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    View,
    LogIn,
    /// Give orders, with this CSRF token.
    Order(String),
}

/// Draws the forms that the viewer may use.
pub(super) fn draw(access: &Access, words: &Words) -> Markup {
    match access {
        Access::View => html! {},
        Access::LogIn => html! {
            form method="post" action="/login" {
                label { (words.password) " " input type="password" name="password" required autocomplete="current-password"; }
                " " button type="submit" { (words.log_in) }
            }
        },
        Access::Order(csrf) => html! {
            form method="post" action="/orders" {
                input type="hidden" name="csrf" value=(csrf);
                button type="submit" name="order" value="acknowledge" { (words.acknowledge) }
                " " button type="submit" name="order" value="next-page" { (words.next_page) }
                " " label { (words.node) " " input name="node" size="12" list="names" autocapitalize="none" autocomplete="off" spellcheck="false"; }
                // The script fills in the names on the page.
                datalist #names {}
                " " button type="submit" name="order" value="drain" { (words.drain) }
                " " button type="submit" name="order" value="resume" { (words.resume) }
            }
            form method="post" action="/logout" { button type="submit" { (words.log_out) } }
        },
    }
}
