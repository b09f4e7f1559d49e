//! Keys of the status page and its metrics. The program bramblegate-web reads them; the daemon
//! reads those for the ports of the page.

use std::path::PathBuf;

use ipnet::IpNet;

use super::Preset::{Toml, Words};
use super::form::{BOOL, choice, integer, keys, scalars, text, texts};
use crate::{Public, WebAddress, devices, grammar};

keys! {
    WEB =
    /// false: there is no status page. The program bramblegate-web then ends at once.
    WEB_ENABLED: bool = "web.enabled", BOOL, Toml("true");

    /// Where the status page listens: a port at all addresses, or an address and a port. Of the
    /// ports, the first that is free is used, and 8080 if none is. The LCD, `bramblegate status`
    /// and mDNS show which one it is. The venue reaches the page only if uplink.allow has "web".
    WEB_LISTEN: Vec<WebAddress> =
        "web.listen",
        scalars!("a port such as 80, or an address and a port such as \"192.168.50.1:80\"", grammar::web_address)
            .not_empty(),
        Toml("[80]");

    /// What the page shows without a log-in. "summary" shows no names, hardware addresses or
    /// addresses of nodes. "off" shows nothing, and keeps the metrics to those who log in.
    WEB_PUBLIC: Public =
        "web.public",
        choice!("full" => Public::Full, "summary" => Public::Summary, "off" => Public::Off),
        Toml("\"full\"");

    /// The networks from which one may log in and give orders, beside the head node itself. Set the
    /// password with `sudo bramblegate web password`.
    WEB_ADMIN_FROM: Vec<IpNet> =
        "web.admin_from",
        texts!("a network such as \"10.1.2.0/24\"", grammar::network),
        Words("the cluster's subnet");

    /// The status pages of other head nodes, which are shown on this one's. Only http.
    WEB_HEADS: Vec<String> =
        "web.heads",
        texts!("a URL such as \"http://rack2.local\"", grammar::web_head),
        Toml("[]");

    /// Further names by which browsers and other heads may call this page. Its addresses, its host
    /// name and the host name in `local`, in cluster.domain or in a domain of the resolver are known
    /// anyway. A page that is called by any other name does not answer.
    WEB_NAMES: Vec<String> =
        "web.names",
        texts!("a name such as \"rack1.example.org\"", grammar::web_name),
        Toml("[]");

    /// The file in which the status page writes its port.
    WEB_PORT_FILE: PathBuf =
        "web.port_file",
        text!("an absolute path such as \"/run/bramblegate-web/port\"", devices::socket),
        Toml("\"/run/bramblegate-web/port\"");

    /// Up to this number of nodes have metrics of their own. With more nodes there are those of
    /// groups only.
    METRICS_NODES_MAX: usize = "metrics.nodes_max", integer(0, 100_000), Toml("1000");
}
