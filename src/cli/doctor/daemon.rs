//! The gateway itself.

use super::{CheckContext, Finding, FindingCode};

/// A daemon that is there and says nothing follows no change any more, and what its panel shows is
/// old. One that does not run is no finding: it may not have been started yet.
pub fn answers(context: &CheckContext<'_>) -> Vec<Finding> {
    let socket = &context.settings.status.socket;
    if !context.machine.is_silent(socket) {
        return Vec::new();
    }
    let text = format!(
        "the gateway hangs: somebody holds its status socket {} and says nothing there",
        socket.display()
    );
    vec![Finding::of(FindingCode::GatewaySilent, text)]
}
