//! Disks that the nodes use by NFS: this kernel need not have the server, but it has its port and our
//! rules.

use bramblegate_lab::Result;
use bramblegate_lab::shell::must;

use super::scene::{PLAIN, ensure, online, try_from};

/// Whatever listens at the port of NFS on the head, by IPv4 and IPv6: nodes reach it, the venue
/// does not, not even at the head's address in the cluster.
pub fn nfs_is_for_nodes_alone() -> Result<()> {
    online(PLAIN, |world| {
        let _server = world.serve("head", "banner", "[::]:2049")?;
        let _allowed = world.serve("head", "banner", "[::]:22")?;
        must(
            "head",
            "ip addr add 2001:db8:7::2/64 dev eth1 nodad; ip addr add 2001:db8:c1::1/64 dev eth0 \
             nodad",
        )?;
        must("laptop", "ip addr add 2001:db8:7::20/64 dev eth0 nodad")?;
        must(
            "laptop",
            "ip route add 192.168.50.0/24 via 10.99.0.126; ip route add 2001:db8:c1::/64 via \
             2001:db8:7::2",
        )?;
        must("rpi1", "ip addr add 2001:db8:c1::11/64 dev eth0 nodad")?;
        for (head, cluster) in
            [("10.99.0.126", "192.168.50.1"), ("[2001:db8:7::2]", "[2001:db8:c1::1]")]
        {
            let ssh = try_from(world, "laptop", &format!("tcp {head}:22"));
            ensure(&format!("ssh at {head}: {ssh:?}"), ssh.is_ok())?;
            for address in [head, cluster] {
                let nfs = format!("tcp {address}:2049");
                ensure(&format!("{nfs} by the venue"), try_from(world, "laptop", &nfs).is_err())?;
            }
            let nfs = format!("tcp {cluster}:2049");
            let reached = try_from(world, "rpi1", &nfs);
            ensure(&format!("{nfs} by a node: {reached:?}"), reached.is_ok())?;
        }
        Ok(())
    })
}
