//! Sensors of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::parse;
use crate::event::{Head, Pressure};
use crate::files::reading;
use crate::watch::dhcp::boot_files;

/// 2025-01-01; an earlier clock was not set.
const EARLIEST: u64 = 1_735_689_600;
/// File systems that are read-only by design.
const READ_ONLY_KINDS: [&str; 4] = ["squashfs", "erofs", "iso9660", "cramfs"];

/// Holds the paths that sensors read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct View {
    pub root: PathBuf,
    /// Folder of the nodes' boot files.
    pub boot_folder: Option<PathBuf>,
}

/// Holds the readings; each sensor fills in its part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    head: Head,
    alarm: Option<bool>,
    firmware: Option<(bool, bool)>,
    /// Why the boot folder is unusable.
    pub boot_folder: Option<String>,
    /// Files in it that their server may not read.
    pub boot_files: Option<String>,
}

/// A sensor's name for users and its function; each may hang without affecting the others.
pub(super) type Sensor = (&'static str, fn(&View, &mut Seen));

pub(super) const SENSORS: [Sensor; 6] = [
    ("the temperature", |view, seen| seen.head.temperature = temperature(&view.root)),
    ("the supply's alarm", |view, seen| {
        let text = voltage_alarm(&view.root).and_then(|path| reading::text(&path).ok());
        seen.alarm = text.map(|text| text.trim() == "1");
    }),
    ("the firmware's state", |view, seen| {
        let text = throttled_file(&view.root).and_then(|path| reading::text(&path).ok());
        seen.firmware = text.as_deref().and_then(parse::throttled);
    }),
    ("the root file system", |view, seen| (seen.head.disk, seen.head.inodes) = room(&view.root)),
    ("load and memory", |view, seen| machine(&view.root, &mut seen.head)),
    ("the folder of boot files", |view, seen| {
        let Some(folder) = view.boot_folder.as_deref() else { return };
        seen.boot_folder = unusable(folder);
        let closed = || boot_files::closed(folder, boot_files::may_ours);
        seen.boot_files =
            seen.boot_folder.is_none().then(closed).flatten().map(|closed| closed.to_string());
    }),
];

impl Seen {
    /// Merges the readings of another sensor.
    pub fn absorb(&mut self, other: Self) {
        let (head, more) = (&mut self.head, other.head);
        head.temperature = head.temperature.or(more.temperature);
        head.disk = head.disk.or(more.disk);
        head.inodes = head.inodes.or(more.inodes);
        head.load = head.load.or(more.load);
        head.memory = head.memory.or(more.memory);
        head.pressure.processor = head.pressure.processor.or(more.pressure.processor);
        head.pressure.memory = head.pressure.memory.or(more.pressure.memory);
        head.pressure.disk = head.pressure.disk.or(more.pressure.disk);
        head.read_only = head.read_only.or(more.read_only);
        head.clock_set = head.clock_set.or(more.clock_set);
        self.alarm = self.alarm.or(other.alarm);
        self.firmware = self.firmware.or(other.firmware);
        self.boot_folder = self.boot_folder.take().or(other.boot_folder);
        self.boot_files = self.boot_files.take().or(other.boot_files);
    }

    /// Returns the state of the machine from all readings.
    pub fn head(&self) -> Head {
        let low = self.firmware.map(|(low, _)| low);
        let is_known = self.alarm.is_some() || low.is_some();
        Head {
            under_voltage: is_known.then_some(self.alarm == Some(true) || low == Some(true)),
            throttled: self.firmware.map(|(_, slow)| slow),
            ..self.head
        }
    }
}

/// Reads load, memory, pressure, the root file system's state and the clock's.
fn machine(root: &Path, head: &mut Head) {
    let text = |path: &str| reading::text(&root.join(path)).ok();
    let pressure =
        |what: &str| text(&format!("proc/pressure/{what}")).as_deref().and_then(parse::pressure);
    // Only tenths are shown.
    head.load = text("proc/loadavg").as_deref().and_then(parse::load).map(|load| load / 10 * 10);
    head.memory = text("proc/meminfo").as_deref().and_then(parse::available);
    head.pressure =
        Pressure { processor: pressure("cpu"), memory: pressure("memory"), disk: pressure("io") };
    head.read_only = read_only(
        &text("proc/self/mountinfo").unwrap_or_default(),
        &text("etc/fstab").unwrap_or_default(),
    );
    head.clock_set = Some(is_clock_set(root, SystemTime::now()));
}

/// Returns why this user, which the TFTP server runs as too, cannot read in a folder.
fn unusable(folder: &Path) -> Option<String> {
    check_folder(folder).err().map(|error| error.to_string())
}

/// Checks that `folder` is a directory that this user may enter.
fn check_folder(folder: &Path) -> std::io::Result<()> {
    if !fs::metadata(folder)?.is_dir() {
        return Err(std::io::ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(folder, rustix::fs::Access::EXEC_OK)?)
}

/// Returns the temperature of the hottest thermal zone
/// (Documentation/driver-api/thermal/sysfs-api.rst).
fn temperature(root: &Path) -> Option<i32> {
    let zones = reading::entries(&root.join("sys/class/thermal")).into_iter();
    zones.filter_map(|zone| parse::degrees(&reading::text(&zone.join("temp")).ok()?)).max()
}

/// Finds `in0_lcrit_alarm` of the driver raspberrypi-hwmon, which is 1 during under-voltage. The
/// kernel signals its changes through poll(2).
pub(super) fn voltage_alarm(root: &Path) -> Option<PathBuf> {
    let chips = reading::entries(&root.join("sys/class/hwmon")).into_iter();
    let mut ours = chips.filter(|chip| {
        reading::text(&chip.join("name")).is_ok_and(|name| name.trim() == "rpi_volt")
    });
    ours.next().map(|chip| chip.join("in0_lcrit_alarm"))
}

/// Finds `get_throttled` of the driver raspberrypi-firmware; on a Pi 5 the folder's name contains
/// the address of the bus.
pub(super) fn throttled_file(root: &Path) -> Option<PathBuf> {
    let buses = reading::entries(&root.join("sys/devices/platform"))
        .into_iter()
        .filter(|path| is_soc_file(path, ""));
    let firmware =
        buses.flat_map(|bus| reading::entries(&bus)).filter(|path| is_soc_file(path, ":firmware"));
    firmware.map(|folder| folder.join("get_throttled")).find(|file| file.exists())
}

/// Returns whether a file name begins with `soc` and ends with `end`.
fn is_soc_file(path: &Path, end: &str) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("soc") && name.ends_with(end))
}

/// Returns free space and free inodes for ordinary users, in percent. Some file systems have no
/// inode count.
fn room(root: &Path) -> (Option<u8>, Option<u8>) {
    let Ok(seen) = rustix::fs::statvfs(root) else { return (None, None) };
    let used = seen.f_blocks.saturating_sub(seen.f_bfree);
    (
        parse::share(seen.f_bavail, used.saturating_add(seen.f_bavail)),
        parse::share(seen.f_favail, seen.f_files),
    )
}

/// Returns whether the root file system is read-only although it should be writable according to
/// `fstab`; `None` if unknown.
fn read_only(mountinfo: &str, fstab: &str) -> Option<bool> {
    let options = parse::super_options(mountinfo)?;
    let entry = parse::fields(fstab)?;
    let kind = entry.get(2).copied().unwrap_or_default();
    let intended = READ_ONLY_KINDS.contains(&kind)
        || entry.get(3).is_some_and(|options| parse::says_read_only(options));
    Some(!intended && parse::says_read_only(options))
}

/// Returns whether the clock is set. A Pi without an RTC starts with an estimated time until NTP
/// sets it. systemd-timesyncd creates a file then; other NTP clients do not, so without timesyncd
/// any plausible date counts.
pub(crate) fn is_clock_set(root: &Path, now: SystemTime) -> bool {
    let plausible = now.duration_since(UNIX_EPOCH).is_ok_and(|since| since.as_secs() >= EARLIEST);
    let exists = |path: &str| root.join(path).exists();
    plausible
        && (exists("dev/rtc0")
            || exists("run/systemd/timesync/synchronized")
            || !exists("run/systemd/timesync"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::Duration;

    /// Reads all sensors in turn.
    fn look(root: &Path) -> Head {
        let view = View { root: root.to_owned(), boot_folder: None };
        let mut all = Seen::default();
        for (_, sensor) in SENSORS {
            let mut seen = Seen::default();
            sensor(&view, &mut seen);
            all.absorb(seen);
        }
        all.head()
    }

    pub fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Creates the files of a Raspberry Pi 4 in a temporary folder.
    pub fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/loadavg", "0.31 0.18 0.11 1/213 4711\n"),
            ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 620 kB\n"),
            ("proc/pressure/cpu", "some avg10=0.00 avg60=3.00 avg300=0.00 total=1\n"),
            ("proc/pressure/io", "some avg10=0.00 avg60=0.40 avg300=0.00 total=1\n"),
            ("proc/self/mountinfo", "24 1 179:2 / / rw shared:1 - ext4 /dev/root rw\n"),
            ("etc/fstab", "PARTUUID=1-2 / ext4 defaults,noatime 0 1\n"),
            ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
            ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
            ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
            ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n"),
            ("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n"),
        ] {
            put(root.path(), path, text);
        }
        root
    }

    #[test]
    fn a_healthy_pi_is_read() {
        let temporary = tree();
        let root = temporary.path();
        let head = look(root);
        assert_eq!((head.temperature, head.load, head.memory), (Some(48), Some(30), Some(62)));
        assert_eq!(
            (head.under_voltage, head.throttled, head.read_only),
            (Some(false), Some(false), Some(false))
        );
        let pressure = Pressure { processor: Some(3), memory: None, disk: Some(0) };
        assert_eq!((head.pressure, head.clock_set), (pressure, Some(true)));
        assert!(head.disk.is_some_and(|percent| percent <= 100));
    }

    #[test]
    fn a_fifo_as_sensor_does_not_block_the_others() {
        let temporary = tree();
        let root = temporary.path();
        let folder = root.join("sys/class/thermal/thermal_zone1");
        fs::create_dir_all(&folder).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("temp"),
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .unwrap();
        let (done, seen) = std::sync::mpsc::channel();
        let looked = root.to_owned();
        std::thread::spawn(move || done.send(look(&looked)));
        let head = seen.recv_timeout(Duration::from_secs(10));
        assert_eq!(head.expect("it hangs").temperature, Some(48));
    }

    #[test]
    fn under_voltage_is_read_from_driver_or_firmware() {
        let temporary = tree();
        let root = temporary.path();
        put(root, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
        let by_driver = look(root);
        fs::remove_dir_all(root.join("sys/class/hwmon")).unwrap();
        put(root, "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
        let by_firmware = look(root);
        assert_eq!((by_driver.under_voltage, by_driver.throttled), (Some(true), Some(false)));
        assert_eq!((by_firmware.under_voltage, by_firmware.throttled), (Some(true), Some(true)));
    }

    #[test]
    fn the_firmware_of_a_pi_5_is_found() {
        let temporary = tree();
        let root = temporary.path();
        fs::remove_dir_all(root.join("sys/devices/platform/soc")).unwrap();
        assert_eq!(throttled_file(root), None);
        let file = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled";
        put(root, file, "0\n");
        let found = throttled_file(root);
        let expected = root.join(file);
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn a_failed_root_is_distinguished_from_one_read_only_by_design() {
        let failed = "24 1 179:2 / / rw shared:1 - ext4 /dev/root ro,errors=remount-ro\n";
        assert_eq!(read_only(failed, "UUID=1 / ext4 defaults 0 1\n"), Some(true));
        assert_eq!(read_only(failed, "UUID=1 / ext4 defaults,ro 0 1\n"), Some(false));
        assert_eq!(read_only(failed, "UUID=1 / squashfs defaults 0 1\n"), Some(false));
        assert_eq!(read_only(failed, ""), None);
    }

    #[test]
    fn a_clock_is_set_if_timesyncd_reports_so_or_is_absent() {
        let temporary = tree();
        let root = temporary.path();
        let (early, late) = (
            UNIX_EPOCH + Duration::from_secs(EARLIEST - 1),
            UNIX_EPOCH + Duration::from_secs(EARLIEST),
        );
        assert!(!is_clock_set(root, early));
        assert!(is_clock_set(root, late));
        fs::create_dir_all(root.join("run/systemd/timesync")).unwrap();
        assert!(!is_clock_set(root, late), "timesyncd has not synchronised yet");
        put(root, "run/systemd/timesync/synchronized", "");
        assert!(is_clock_set(root, late));
    }

    #[test]
    fn an_unusable_boot_folder_is_reported() {
        let temporary = tree();
        let root = temporary.path();
        let why = |path: &str| unusable(&root.join(path));
        let found = (why("sys/class"), why("missing"), why("etc/fstab"));
        assert_eq!(found.0, None);
        assert!(found.1.unwrap().contains("No such file"));
        assert!(found.2.is_some(), "not a directory");
    }

    #[test]
    fn a_machine_without_sensors_has_no_vitals() {
        let head = Head { clock_set: None, ..look(Path::new("/nonexistent")) };
        assert_eq!(head, Head::default());
    }
}
