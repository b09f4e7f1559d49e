//! What a person can do about a chain that blocks us, in the words of the program that made it.

use super::foreign::{Table, TableName};
use super::judge::Way;

/// "ip filter"
pub fn table_name((family, name): &TableName) -> String {
    let family = match family {
        1 => "inet",
        2 => "ip",
        _ => "?",
    };
    format!("{family} {name}")
}

/// Commands that let the cluster through.
pub fn remedy(name: &TableName, table: &Table, chain: &str, way: &Way) -> String {
    let (cluster, uplink) = (&way.cluster.0, &way.uplink.0);
    let iptables = |chain: &str| {
        format!(
            "iptables -I {chain} -i {cluster} -j ACCEPT; \
             iptables -I {chain} -o {cluster} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        )
    };
    let has = |prefix: &str| table.chains.keys().any(|chain| chain.starts_with(prefix));
    if name.1 == "firewalld" {
        return format!("firewall-cmd --permanent --zone=trusted --add-interface={cluster}; firewall-cmd --reload");
    }
    match name.1.as_str() {
        "filter" if has("DOCKER-USER") => iptables("DOCKER-USER"),
        "filter" if has("ufw-") => format!("ufw route allow in on {cluster} out on {uplink}"),
        "filter" if name.0 == 2 => iptables("FORWARD"),
        _ => {
            let table = table_name(name);
            format!(
                "nft insert rule {table} {chain} iifname {cluster} accept; \
                 nft insert rule {table} {chain} oifname {cluster} ct state established,related accept"
            )
        }
    }
}
