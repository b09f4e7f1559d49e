//! Parsers for files in `/proc` and `/sys`. Pure; any input is accepted.

/// Parses the first field of `/proc/loadavg` (proc_loadavg(5)), in hundredths.
pub fn load(text: &str) -> Option<u32> {
    let (whole, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    if hundredths.len() != 2 {
        return None;
    }
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(digits(hundredths)?)
}

/// Parses digits only; `str::parse` would accept a sign.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parses the available memory in percent, from `/proc/meminfo` (proc_meminfo(5)).
pub fn available(text: &str) -> Option<u8> {
    let kibibytes = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    share(kibibytes("MemAvailable")?, kibibytes("MemTotal")?)
}

/// Parses `some avg60` of a file in `/proc/pressure` (Documentation/accounting/psi.rst), in
/// percent.
pub fn pressure(text: &str) -> Option<u8> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let average = some.split_whitespace().find_map(|word| word.strip_prefix("avg60="))?;
    digits(average.split('.').next()?).and_then(|percent| u8::try_from(percent).ok())
}

/// Parses the firmware's throttling state: (below 4.63 V now, slowed down now). Bits 0 to 3 are
/// under-voltage, frequency capped, throttled and soft temperature limit; bits from 16 on report
/// the same since the boot (Raspberry Pi documentation, `vcgencmd get_throttled`).
pub fn throttled(text: &str) -> Option<(bool, bool)> {
    let text = text.trim();
    let bits = u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()?;
    Some((bits & 1 != 0, bits & 0b1110 != 0))
}

/// Returns the super options of the root file system, from `/proc/self/mountinfo`
/// (proc_pid_mountinfo(5)), not the mount options, which are read-only in our sandbox. The topmost
/// mount of `/` counts.
pub fn super_options(mountinfo: &str) -> Option<&str> {
    let is_root = |line: &&str| line.split(' ').nth(4) == Some("/");
    let root = mountinfo.lines().rev().find(is_root)?;
    // A hyphen ends the optional fields; type, source and super options follow.
    root.split_once(" - ")?.1.splitn(3, ' ').nth(2)
}

/// Returns the fields of the entry for `/` in `/etc/fstab` (fstab(5)).
pub fn fields(fstab: &str) -> Option<Vec<&str>> {
    let lines = fstab.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_whitespace().collect())
        .find(|fields: &Vec<&str>| fields.get(1) == Some(&"/"))
}

/// Returns whether `ro` is among the options.
pub fn says_read_only(options: &str) -> bool {
    options.split(',').any(|option| option == "ro")
}

/// Converts the millidegrees of a thermal zone to degrees Celsius; `None` outside 1 to 150, which
/// means that the sensor is absent or off.
pub fn degrees(text: &str) -> Option<i32> {
    let degrees = text.trim().parse::<i32>().ok()? / 1000;
    (1..=150).contains(&degrees).then_some(degrees)
}

/// Returns `part` of `whole` in percent, rounded down.
pub fn share(part: u64, whole: u64) -> Option<u8> {
    let percent = u128::from(part).checked_mul(100)?.checked_div(u128::from(whole))?;
    Some(u8::try_from(percent).unwrap_or(100).min(100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_files_of_a_raspberry_pi_are_parsed() {
        assert_eq!(load("0.31 0.18 0.11 1/213 4711\n"), Some(31));
        assert_eq!(
            available("MemTotal:        948304 kB\nMemFree: 1 kB\nMemAvailable:    590000 kB\n"),
            Some(62)
        );
        let psi = "some avg10=0.00 avg60=12.73 avg300=3.10 total=4711\n\
         full avg10=0.00 avg60=0.50 avg300=0.00 total=1\n";
        assert_eq!(pressure(psi), Some(12));
        assert_eq!(throttled("0\n"), Some((false, false)));
        assert_eq!(throttled("50005\n"), Some((true, true)));
        assert_eq!(throttled("0x50000"), Some((false, false)), "since the boot, but not now");
        assert_eq!(degrees("48312\n"), Some(48));
        assert_eq!(degrees("-274000\n"), None);
    }

    #[test]
    fn super_options_count_and_not_those_of_our_sandboxs_mount() {
        let sandbox = "\
            24 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
            25 24 0:22 / /proc rw - proc proc rw\n\
            90 24 179:2 / / ro,nosuid master:1 - ext4 /dev/root rw,errors=remount-ro\n";
        assert_eq!(super_options(sandbox), Some("rw,errors=remount-ro"));
        assert!(!says_read_only("rw,errors=remount-ro"));
        assert!(says_read_only("ro,relatime"));
        assert_eq!(
            fields(
                "# / comment\nproc /proc proc defaults 0 0\n\
            PARTUUID=1-2 / ext4 defaults,noatime 0 1\n"
            )
            .unwrap()[3],
            "defaults,noatime"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*", lines in "((some |Mem)?[a-zA-Z]*[ :=][0-9.]*kB?\n){0,5}") {
            for text in [text, lines] {
                let _ = (load(&text), available(&text), pressure(&text), throttled(&text), degrees(&text));
                let _ = (super_options(&text), fields(&text));
            }
        }

        #[test]
        fn a_load_is_parsed(load_ in 0_u32..100_000) {
            prop_assert_eq!(load(&format!("{}.{:02} 0.00 0.00 1/2 3", load_ / 100, load_ % 100)), Some(load_));
        }

        #[test]
        fn a_share_is_at_most_100_percent(part: u64, whole: u64) {
            prop_assert!(share(part, whole).is_none_or(|percent| percent <= 100));
            prop_assert_eq!(share(part, whole).is_none(), whole == 0);
        }

        #[test]
        fn a_pressure_is_parsed(percent in 0_u8..=100, hundredths in 0_u8..100) {
            let text = format!("some avg10=99.00 avg60={percent}.{hundredths:02} avg300=0.00 total=1\n");
            prop_assert_eq!(pressure(&text), Some(percent));
        }
    }
}
