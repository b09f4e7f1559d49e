//! Keys of the shutdown of the nodes: the verb `bramblegate shutdown` reads them, as root; the
//! daemon uses none of them.

use std::path::PathBuf;
use std::time::Duration;

use super::Preset::{Toml, Words};
use super::form::{duration, keys, seconds, text, texts};
use crate::{grammar, rule};

keys! {
    SHUTDOWN =
    /// The user that `bramblegate shutdown` logs in as on the nodes. Each user but root needs sudo
    /// without a password there.
    SHUTDOWN_USER: String =
        "shutdown.user", text!("a user name such as \"pi\"", grammar::user), Toml("\"root\"");

    /// The file of the private ssh key with which `bramblegate shutdown` logs in on the nodes. Only
    /// root may be able to read it.
    SHUTDOWN_KEY: PathBuf =
        "shutdown.key",
        text!("an absolute path such as \"/etc/bramblegate/shutdown_key\"", grammar::key_file),
        Words("none: the nodes are not shut down");

    /// How long `bramblegate shutdown` waits for the nodes. Nodes that are not off by then are
    /// named.
    SHUTDOWN_TIMEOUT: Duration =
        "shutdown.timeout", duration(seconds(5), seconds(3600)), Toml("\"90s\"");

    /// Devices in the cluster's network that are not its nodes, such as a printer or a disk station.
    /// `bramblegate shutdown` leaves them alone. A visitor's laptop needs no entry: a device that is
    /// neither in the settings nor in a group is left out if it refuses the key. But if the settings
    /// have no node at all, every device counts.
    SHUTDOWN_EXCEPT: Vec<String> =
        "shutdown.except",
        texts!("a node's name such as \"printer\", or a glob such as \"laptop*\"", rule::member),
        Toml("[]");
}
