//! Codes of findings: the alert's code if an alert reports the same, else one of `doctor`'s own.

use std::fmt;

use crate::event::AlertCode;

/// Rank of a finding, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Nothing is wrong, but something would be better.
    Hint,
    Finding,
    /// The gateway cannot do its work.
    Blocked,
}

impl Rank {
    /// Returns the word before a finding, padded to a column.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Hint => "hint   ",
            Self::Finding => "finding",
            Self::Blocked => "BLOCKED",
        }
    }
}

macro_rules! finding_codes {
    ($($code:ident $name:literal $rank:ident $remedy:expr;)*) => {
        /// Code of a finding. The table below has the codes that are not an alert's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FindingCode {
            /// An alert reports the same.
            Alert(AlertCode),
            $($code),*
        }

        impl FindingCode {
            /// The codes that are not an alert's, sorted by name.
            pub const OWN: &'static [Self] = &[$(Self::$code),*];

            /// Returns the stable name for reports and the manual. It begins with its subject, as
            /// an alert's does.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Alert(code) => code.name(),
                    $(Self::$code => $name),*
                }
            }

            /// Returns the default rank; a check may set another.
            pub const fn rank(self) -> Rank {
                match self {
                    Self::Alert(code) => alert_rank(code),
                    $(Self::$code => Rank::$rank),*
                }
            }

            /// Returns the remedy, if it is always the same.
            pub const fn remedy(self) -> Option<&'static str> {
                match self {
                    Self::Alert(code) => code.remedy(),
                    $(Self::$code => $remedy),*
                }
            }
        }
    };
}

const UDEV: &str = "install the udev rules (udev/ in the source, done by `make install`), then \
                    `sudo udevadm control \
                    --reload && sudo udevadm trigger`";
const TWO_DRIVERS: &str = "stop it, and remove it from what starts it (rc.local, crontab, a \
                           unit), if it drives the same display or LED";

// Name; rank; remedy, if it is always the same.
finding_codes! {
    GatewayDhcpOther "gateway-dhcp-other" Finding None;
    GatewayLeftover "gateway-leftover" Finding None;
    GatewayMasqueradeOld "gateway-masquerade-old" Finding None;
    GatewayMasqueradeSaved "gateway-masquerade-saved" Finding None;
    GatewayNames "gateway-names" Finding
        Some("check above whether the venue's resolvers work; then `sudo systemctl restart \
              bramblegate`");
    GatewayNoTime "gateway-no-time" Hint None;
    GatewayPortCloudInit "gateway-port-cloud-init" Finding None;
    GatewayPortManaged "gateway-port-managed" Finding None;
    GatewayPortNetplan "gateway-port-netplan" Finding None;
    GatewayPortsSwapped "gateway-ports-swapped" Blocked None;
    GatewaySilent "gateway-silent" Finding
        Some("`sudo systemctl restart bramblegate`, and report the output of `journalctl -u \
              bramblegate`");
    GatewayTableSaved "gateway-table-saved" Finding None;
    HostDnsmasqOld "host-dnsmasq-old" Finding
        Some("`sudo apt update && sudo apt install --only-upgrade dnsmasq-base && sudo systemctl \
              restart bramblegate`");
    HostDnsmasqOpen "host-dnsmasq-open" Hint
        Some("let only nodes that you trust into the cluster's network; Debian 13 has the fixes");
    HostJournalOnCard "host-journal-on-card" Hint
        Some("`sudo mkdir -p /etc/systemd/journald.conf.d && printf \
              '[Journal]\\nStorage=volatile\\n' | sudo tee \
              /etc/systemd/journald.conf.d/90-volatile.conf && sudo systemctl restart \
              systemd-journald`, if the log need not outlive a power cut");
    HostOverlayRoot "host-overlay-root" Finding
        Some("switch it off while you set up (`sudo raspi-config nonint disable_overlayfs && sudo \
              reboot`), then on again");
    HostPort53 "host-port-53" Finding None;
    HostPort67 "host-port-67" Finding None;
    HostSettings "host-settings" Blocked None;
    HostSnmpStopped "host-snmp-stopped" Finding
        Some("`sudo systemctl enable --now bramblegate-snmp`");
    HostSnmpdMissing "host-snmpd-missing" Finding Some("`sudo apt install snmpd`");
    HostSnmpdSettings "host-snmpd-settings" Finding
        Some("`bramblegate print snmpd | sudo tee /etc/snmp/snmpd.conf.d/bramblegate.conf && sudo \
              systemctl restart snmpd`");
    HostSnmpdSocket "host-snmpd-socket" Finding Some("`sudo systemctl restart snmpd`");
    HostSnmpdStopped "host-snmpd-stopped" Finding Some("`sudo systemctl enable --now snmpd`");
    HostSshClosed "host-ssh-closed" Finding None;
    HostWebNoPassword "host-web-no-password" Finding Some("`sudo bramblegate web password`");
    HostWebNotAllowed "host-web-not-allowed" Hint None;
    HostWebPort "host-web-port" Hint None;
    HostWebSilent "host-web-silent" Finding Some("`sudo systemctl restart bramblegate-web`");
    HostWebStopped "host-web-stopped" Finding
        Some("`sudo systemctl enable --now bramblegate-web`");
    LcdAbsent "lcd-absent" Finding
        Some("switch I2C on: `sudo raspi-config nonint do_i2c 0` (dtparam=i2c_arm=on in \
              config.txt), load i2c-dev, or correct lcd.bus");
    LcdDenied "lcd-denied" Finding Some(UDEV);
    LcdHeld "lcd-held" Finding Some(TWO_DRIVERS);
    LcdLeftover "lcd-leftover" Finding None;
    LedDenied "led-denied" Finding Some(UDEV);
    LedDetached "led-detached" Finding None;
    LedHeld "led-held" Finding Some(TWO_DRIVERS);
    UplinkIpv6Only "uplink-ipv6-only" Finding None;
    UplinkNoAddress "uplink-no-address" Finding Some("`sudo bramblegate doctor --try` asks the \
         venue's server");
    UplinkNoClient "uplink-no-client" Finding None;
    UplinkNoDhcp "uplink-no-dhcp" Finding None;
    UplinkNotAsked "uplink-not-asked" Finding
        Some("`sudo bramblegate doctor --try`: asking needs root, and an interface that is \
              switched on");
    UplinkNotTaken "uplink-not-taken" Finding None;
    UplinkOff "uplink-off" Finding None;
    UplinkRefused "uplink-refused" Finding None;
    UplinkResolver "uplink-resolver" Finding None;
    UplinkTranslatorSlow "uplink-translator-slow" Hint None;
    UplinkTwoClients "uplink-two-clients" Finding None;
    UplinkVenue "uplink-venue" Finding None;
    UplinkWaiting "uplink-waiting" Finding None;
}

/// Returns the rank of a finding with an alert's code.
const fn alert_rank(code: AlertCode) -> Rank {
    match code {
        // Most drops of our own rules are intended.
        AlertCode::GatewayDrops => Rank::Hint,
        AlertCode::GatewayPortEnslaved | AlertCode::UplinkEnslaved => Rank::Blocked,
        _ => Rank::Finding,
    }
}

impl From<AlertCode> for FindingCode {
    fn from(code: AlertCode) -> Self {
        Self::Alert(code)
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_both_an_alerts_and_doctors_own() {
        let names: Vec<&str> = FindingCode::OWN.iter().map(|code| code.name()).collect();
        assert!(names.is_sorted(), "{names:?}");
        let twice: Vec<&&str> =
            names.iter().filter(|name| name.parse::<AlertCode>().is_ok()).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
