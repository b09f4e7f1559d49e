//! Every kind of record, with the identity that journalctl and the catalog use.

use crate::decide::alert::Severity;
use crate::event::Stop;

/// Priority of a record: syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Priority {
    /// Returns the priority for an alert's record.
    pub const fn of(severity: Severity) -> Self {
        match severity {
            Severity::Ok => Self::Info,
            Severity::Notice => Self::Notice,
            Severity::Warning => Self::Warning,
            Severity::Fault => Self::Error,
        }
    }
}

macro_rules! kinds {
    ($($name:ident $id:literal $priority:ident $subject:literal $explanation:literal)*) => {
        /// A kind of record. The table below has one row for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $($name),* }

        impl Kind {
            /// All kinds, in the order of the catalog.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the `MESSAGE_ID`: a random UUID (version 4), which never changes and is
            /// never reused.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id),* }
            }

            /// Returns the default priority of its records.
            pub const fn priority(self) -> Priority {
                match self { $(Self::$name => Priority::$priority),* }
            }

            /// Returns the catalog's subject line.
            pub const fn subject(self) -> &'static str {
                match self { $(Self::$name => $subject),* }
            }

            /// Returns the catalog's explanation.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation),* }
            }
        }
    };
}

kinds! {
    Started "39998763eb154a179294bdca3fc7856f" Info
        "The gateway has started"
        "The daemon has read the machine's network and starts work. Rules that an earlier run \
         left in the kernel are adopted, not interrupted."
    Stopping "bbca8a1bcb9047428f2f6843d11ffe1a" Info
        "The gateway stops"
        "With gateway.on_stop = \"keep\" the rules stay in the kernel and the nodes keep their \
         internet access; with \"remove\" everything is put back."
    Reloaded "fff7f5c8c65d4e998444819d1d100d81" Info
        "The settings were read again"
        "New settings are in force. No connection was interrupted for it."
    SettingsRefused "cdf8080559ba4062b65e6203549f509c" Error
        "The new settings have errors and were not applied"
        "The gateway keeps its present settings. `bramblegate check` reports each error with \
         file, line and column."
    UplinkLink "6c036796f3c2474ab09c3510ad107ec3" Info
        "The state of the uplink @UPLINK@ has changed"
        "A cable was plugged in or pulled, a radio found or lost its network, or the interface \
         came or went."
    UplinkNoDhcp "4057802890c64257b5f1126082c79940" Warning
        "The uplink @UPLINK@ gets no address"
        "There is a carrier, but no address after ten seconds. The record gives the reason, if \
         it is known: no DHCP client asks there, no server answers, or the server refuses. \
         `bramblegate doctor` shows more."
    UplinkAddress "cdb749dd218e4b53a52952c91311470b" Notice
        "The uplink @UPLINK@ has the address @ADDRESS@"
        "This is the address that answers ssh from the venue's network; the panel shows it."
    UplinkRenewed "4c6740ee45aa47989a8ec16cbd5a42bc" Debug
        "The lease of the uplink @UPLINK@ was renewed"
        "The DHCP client took the address away and put it back at once. Only connections that \
         the kernel dropped in between are lost."
    UplinkLost "0068dbcb018749c7a9bb7664b6a645cd" Warning
        "The uplink @UPLINK@ has lost the address @ADDRESS@"
        "The cable was pulled, the lease ran out, or another program removed the address. The \
         nodes' connections through it are cut."
    UplinkActive "4bd6663ed91a4fc183adef34a83c2376" Info
        "Another uplink is the active one"
        "The panel shows the address of the uplink with the best default route."
    Online "84f1ea1a5679494fa41d566aaad6c7b5" Info
        "The internet answers through the uplink @UPLINK@"
        "The probe (uplink.check in the settings) got the expected answer."
    Portal "aab836f1c0c84d76ae42b599ae0f63d1" Warning
        "A captive portal answers on the uplink @UPLINK@"
        "The venue answered in place of the internet. Open any http:// page in a browser of this \
         network or behind the gateway and accept the venue's terms."
    NoInternet "962ab1471d984328ad061d77fd9d6c07" Warning
        "Nothing answers from the internet through the uplink @UPLINK@"
        "There is an address, but the probe (uplink.check in the settings) got no answer. It is \
         repeated at least once a minute."
    Venue "e22620228b2c40afb761a23c66dd6ecb" Info
        "The venue at the uplink @UPLINK@ is of the kind @VENUE@"
        "v4, dual, v6-mostly, v6-only+nat64, v6-only, portal or offline: bramblegate(8) explains \
         each. The record names what decided it."
    NodeUp "5d4504f5481a4ca8ae3a3cba2d3df850" Info
        "The node @NODE@ is up"
        "It answered health.up_after rounds in a row."
    NodeDegraded "80fe8f74dae947fca2298b6326a518ef" Warning
        "The node @NODE@ is degraded"
        "It answers, but slowly (health.degraded_rtt), with losses (health.degraded_loss), or not \
         all the time (health.flap_changes): the record says which. A bad cable, a weak power \
         supply or too much work are the usual causes."
    NodeBooting "73f2cf93a58a46e2b4e07675f4432820" Info
        "The node @NODE@ boots"
        "It loads its system from this machine. If it does not answer within three minutes of the \
         last file it is shown as its probes see it."
    NodeDown "53f99e282cbb40a188baf186fa23777f" Warning
        "The node @NODE@ is @HEALTH@"
        "It left health.down_after rounds in a row unanswered. Check its power, its cable \
         and the switch."
    NodeFound "e2a9b03d64d1442ea9165ff191c56d1a" Info
        "The node @NODE@ was found"
        "It asked for an address or was heard on the cluster interface, and the settings do not \
         name it. It is now probed and counted. `bramblegate nodes adopt @NODE@` writes it into \
         the settings."
    NodeForgotten "5c013fc5181f47fc865fecf4986a23ea" Info
        "The node @NODE@ is forgotten"
        "It was found, not named by the settings, and has not been heard of since its lease ended, \
         or for ten minutes."
    NodeDrained "3076b5516b3e4384861aeea1354bb978" Info
        "The node @NODE@ entered or left maintenance"
        "Ordered with `bramblegate nodes drain` or `resume`. In maintenance, its alerts are \
         muted."
    ClusterPort "9fedaed33ad74ada9d83db405cfc9491" Notice
        "The cluster interface has appeared or disappeared"
        "This is the interface that cluster.interface names. It gets its address as soon as it \
         is there."
    ClusterMoved "660fdb8bed6c4a249e052ed01ad49f69" Warning
        "The cluster has moved to another subnet"
        "The venue leased this machine an address of the cluster. The cluster interface took the \
         first of cluster.fallback_addresses that is free, or has returned to its own subnet. Change \
         nodes with static addresses by hand."
    Delegated "85953714451f4049a3093d448bcacca0" Info
        "The nodes have got or lost a network that the venue delegated"
        "A DHCPv6 client of this machine has a prefix of the venue, or has lost it. The nodes have \
         addresses in a network of it beside their own. When it is lost these are deprecated, and \
         nodes go on with their own."
    DhcpForeign "b4d4aa0daba4471eb4dd25f2b87e10d2" Error
        "Another DHCP server, @SERVER@, answers on the cluster interface"
        "The gateway serves no addresses there, so that it never serves them in another network. \
         Most often the cables of the uplink and of the cluster are swapped. It asks again every \
         30 seconds."
    DhcpHeld "db1f2f02c96d4009bce82c0c03d13f6c" Info
        "Serving addresses waits until the switch forwards"
        "Switches with a spanning tree (STP) block a port for about half a minute after its \
         cable is plugged in. Until then another DHCP server cannot be heard. Set the port as an \
         edge port (\"portfast\") to shorten the wait."
    DhcpForeignGone "51ca45ca8da74c5099133268bc3f39bc" Info
        "The other DHCP server no longer answers"
        "No other server answered on the cluster interface, or its cable was pulled. Before it \
         serves addresses there the gateway asks again."
    RulesAbout "1ec5bd6d2d124c8a920fcc52df2cbbf0" Debug
        "A rule set is about to be applied"
        "The record holds the whole rule set, in the syntax of nft(8). `bramblegate print \
         ruleset` prints the present one."
    RulesApplied "03a1671e77cb4898b2ebc00a11fcd268" Info
        "The rule set is in the kernel"
        "Generation @RULESET_GENERATION@ since the start, put there in one transaction: no packet \
         saw half of it."
    Disturbed "1634cf26aa3e47399ea767053c8385d5" Warning
        "Another program undid a part of the gateway"
        "Another program flushed or changed what belongs to the gateway. It is put back at once. \
         `bramblegate doctor` finds such programs."
    OutputFailed "8aae18a62d314887b06f7fcaeda2a790" Warning
        "A part of the gateway does not work"
        "It is tried again at least every ten seconds, and at once when a device is plugged in. \
         The rest of the gateway keeps working."
    OutputHealed "043537d06884403e838a39c3b82f1c2b" Info
        "A part of the gateway works again"
        "What failed before has succeeded."
    DisplayBlind "c3fe05fbcfde404398e1ceefa93a0df1" Info
        "The display cannot be read back"
        "The adapter, or the chip on the backpack, does not report the state of its pins. If the \
         display loses power for a moment, this goes unnoticed. It is redrawn every five minutes \
         in any case."
    ConntrackFlushed "c3757bc6a0584e7cb51947f721cbea8c" Info
        "Stale connections were removed"
        "The default route moved to another uplink. Connections through the old uplink's address \
         would only hang; now both ends notice."
    Leased "364cadd71e604a9f84ea517a170fd0cd" Info
        "A node has got an address"
        "@ADDRESS@ was given to @MAC@ by DHCP. Renewals are not recorded."
    LeaseRefused "bafbc9767da942b8ab9ad5b974993a69" Notice
        "A node asked for an address that it may not have"
        "It asked for an address in another subnet, or for another node's address. It asks again \
         and gets the right one. This is normal after the cluster has moved."
    DnsmasqTrouble "c6d50e2b2b884a678d64e9850cc0dc63" Warning
        "The DHCP and DNS server reports a problem"
        "The record is from dnsmasq, which the gateway runs for the nodes, or about its lease \
         file. If dnsmasq exits, it is started again at once."
    AlertRaised "1f6e88a72bf04b349267fbf10834de60" Warning
        "An alert was raised"
        "`bramblegate status` and the panel show it until its cause is gone. `bramblegate \
         doctor` shows remedies."
    AlertCleared "c6a7607faefa4547a6de9a899a982477" Info
        "An alert is over"
        "Its cause is gone."
    Acknowledged "39b3871973bc46ecb1c22916fd07af67" Info
        "All current alerts were acknowledged"
        "This was done with a button or a command. They are shown until their cause is gone, but \
         take turns with the other pages, and the LED of a fault falls to amber. New and \
         recurring alerts are not covered."
    PowerOff "3c26fb7153394cb6ac62be8398c9f08d" Notice
        "The power button was held for five seconds"
        "The machine is asked to power off by bramblegate-poweroff.path, which waits for the \
         file power-off in the daemon's runtime directory. Unplug it when the display shows SAFE \
         TO UNPLUG."
    Shutdown "54805d10f81d4340b4d434213e84034d" Notice
        "The nodes are shut down"
        "This was done with `bramblegate shutdown` or the power button. Nodes that are still up \
         did not confirm it, or still answer. The journal of bramblegate-poweroff.service or \
         the verb reports why. Nodes that are off raise no alarm until they are back."
    NodesMissing "86a61b2846f54e2e9a860f3aa4550b82" Warning
        "Nodes have not come back"
        "They were shut down with `bramblegate shutdown`. The head, or another of these nodes, has \
         been on for health.boot_grace since. Check their power and their cables."
    LeftOut "0df42d12e6064c15b1d3b37a11349412" Notice
        "Too many records of one kind"
        "Something keeps changing, or a device floods the cluster interface. Further records \
         like the one that is named were not written. Records of other kinds, and of other \
         nodes, are written."
    Detail "bb800c31ca554bd887175ce6f694ad2f" Debug
        "A detail for debugging"
        "The daemon was started with RUST_LOG, which selects these details: failed tries, \
         dropped messages, lines of dnsmasq. You need not act on them; bramblegate(8) explains \
         how to switch them off."
    SourceFailed "4f60d409cb8b4f068845a786f60e1b9b" Warning
        "The gateway cannot see a part of the machine any more"
        "One of its watchers ended and is started again, less often while it keeps failing. The \
         rest keeps working."
}

/// Returns the purpose of a stop, in plain English.
pub const fn reason(stop: Stop) -> &'static str {
    match stop {
        Stop::Terminated => "stopping",
        Stop::Restart => "stopping, to be started again at once",
        Stop::PowerOff => "stopping: the machine powers off",
        Stop::Reboot => "stopping: the machine restarts",
    }
}

/// Returns the journal catalog (`systemd/bramblegate.catalog`).
pub fn catalog() -> String {
    let mut text = String::from(
        "# What bramblegate's journal records mean: `journalctl -x -u bramblegate`.\n",
    );
    for kind in Kind::ALL {
        text.push_str(&format!("\n-- {}\n", kind.id()));
        text.push_str(&format!("Subject: {}\nDefined-By: bramblegate\n", kind.subject()));
        text.push_str("Documentation: man:bramblegate(8)\n\n");
        text.push_str(&wrapped(kind.explanation()));
    }
    text
}

/// Returns the text wrapped to 80 columns.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > 80 {
            lines.push('\n');
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
    }
    lines.push('\n');
    lines
}
