//! The port of the status page.

use super::{Scene, Topic};

/// Returns the port of the status page at the address of row 1, if there is one.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let port = scene.facts.web_port();
    let topic = port.map(|port| {
        Topic::wordings([
            format!("status page: port {port}"),
            format!("web page :{port}"),
            format!("web :{port}"),
            format!(":{port}"),
        ])
    });
    topic.into_iter().collect()
}
