//! Services for the nodes.

use super::*;

/// Returns the settings of a head that serves addresses, with further lines.
fn serves(more: &str) -> String {
    format!(
        "uplink.interfaces = [\"wlan0\"]\ncluster.interface = \"eth0\"\nlcd.bus = \"off\"\n\
         led.device = \"off\"\n[cluster.dhcp]\n{more}"
    )
}

#[test]
fn a_missing_time_server_is_a_hint() {
    let head =
        |name: &str, more: &str| Head::new(name).set(&serves(more)).with("/usr/sbin/dnsmasq", "");
    let stock = head("time1", "").with("/etc/systemd/timesyncd.conf", "[Time]\n#NTP=\n");
    let [hint] = &stock.hints()[..] else { panic!("{:#?}", stock.hints()) };
    assert_eq!((hint.code.name(), code(std::slice::from_ref(hint))), ("gateway-no-time", 0));
    assert!(
        hint.remedy.contains("apt install chrony")
            && hint.remedy.contains("allow 192.168.50.0/24\\n")
            && hint.remedy.contains("local stratum 10\\n'"),
        "{hint:?}"
    );
    assert!(
        report(std::slice::from_ref(hint), "3 checks").contains("3 checks, nothing is in the way")
    );
    assert_eq!(stock.findings(), []);
    let deaf =
        head("time2", "").with("/etc/chrony/chrony.conf", "pool 2.debian.pool.ntp.org iburst\n");
    assert!(!deaf.hints()[0].remedy.contains("apt install"));
    let udp =
        "  sl  local_address rem_address   st\n  1: 00000000:007B 00000000:0000 07 0 0 0 0 0 0\n";
    for well in [
        head("time3", "").with("/proc/net/udp", udp),
        head("time4", "").with("/etc/chrony/chrony.conf", "server 10.0.0.1\n"),
        head("time5", "ntp = \"off\"\n"),
        Head::new("time6"),
    ] {
        assert_eq!(well.hints(), [], "{}", well.root.display());
    }
    for (answer, line) in
        [("silent", "echo 'allow 192.168.50.0/24'"), ("unsynchronised", "echo 'local stratum 10'")]
    {
        let server = head("time7", "").with("/proc/net/udp", udp).answer("time", answer);
        assert!(server.hints()[0].remedy.contains(line), "{answer}: {:?}", server.hints());
    }
}

#[test]
fn a_folder_of_boot_files_that_is_missing_or_closed_is_reported() {
    let head = |name: &str| {
        let settings = serves("ntp = \"off\"\n[cluster.netboot]\nroot = \"/srv/boot/tftp\"\n");
        Head::new(name).set(&settings).with("/usr/sbin/dnsmasq", "")
    };
    head("boot1").has_finding(
        "gateway-netboot",
        "/srv/boot/tftp is not there",
        "mkdir -p /srv/boot/tftp",
    );
    Head::new("boot4")
        .set(&serves("ntp = \"off\"\n[cluster.netboot]\nroot = \"/home/pi/tftp\"\n"))
        .with("/usr/sbin/dnsmasq", "")
        .with("/home/pi/tftp/bootcode.bin", "")
        .has_finding("gateway-netboot", "sandbox hides /home", "move the folder");
    let there = |name: &str, mode| {
        let head = head(name).with("/srv/boot/tftp/bootcode.bin", "").with(
            "/etc/passwd",
            "root:x:0:0::/root:/bin/sh\nbramblegate:x:64321:64321::/:/usr/sbin/nologin\n",
        );
        fs::set_permissions(head.root.join("srv/boot"), fs::Permissions::from_mode(mode)).unwrap();
        head
    };
    assert_eq!(there("boot2", 0o755).findings(), []);
    there("boot3", 0o700).has_finding(
        "gateway-netboot",
        "user bramblegate may not enter /srv/boot",
        "chmod o+rx /srv/boot",
    );
    // Everything below it is checked too, by owner, group and mode.
    for (name, path, mode, named) in [
        ("boot5", "overlays", 0o700, "/srv/boot/tftp/overlays"),
        ("boot6", "bootcode.bin", 0o600, "/srv/boot/tftp/bootcode.bin"),
        ("boot7", "bootcode.bin", 0o640, "/srv/boot/tftp/bootcode.bin"),
    ] {
        let head = there(name, 0o755).with("/srv/boot/tftp/overlays/a.dtbo", "");
        fs::set_permissions(
            head.root.join("srv/boot/tftp").join(path),
            fs::Permissions::from_mode(mode),
        )
        .unwrap();
        head.has_finding(
            "gateway-netboot",
            &format!("nodes cannot load {named}: user bramblegate"),
            "chmod -R o+rX /srv/boot/tftp",
        );
    }
    let group = std::os::unix::fs::MetadataExt::gid(&fs::metadata(std::env::temp_dir()).unwrap());
    let own = rustix::process::getegid().as_raw();
    let head = there("boot8", 0o755)
        .with("/etc/group", &format!("boot:x:{group}:pi,bramblegate\nown:x:{own}:bramblegate\n"));
    fs::set_permissions(
        head.root.join("srv/boot/tftp/bootcode.bin"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    assert_eq!(head.findings(), [], "its group may read it");
}
