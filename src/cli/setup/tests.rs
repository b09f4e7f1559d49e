use super::*;
use crate::cli::detect::decide::{Proposal, list, text};
use crate::cli::doctor::cluster;
use crate::config;
use crate::watch::uplink::clients::Manager;

fn proposal(certain: bool) -> Proposal {
    let values = vec![
        ("board", text("auto")),
        ("uplink.interfaces", list(&["wlan0".to_owned(), "eth1".to_owned()])),
        ("cluster.interface", text("eth0")),
    ];
    Proposal { values, reasons: Vec::new(), certain }
}

fn args(uplink: Option<&str>, cluster: Option<&str>, yes: bool) -> Args {
    let name = |name: Option<&str>| name.map(str::to_owned);
    Args { uplink: name(uplink), cluster: name(cluster), yes, ..Args::default() }
}

/// Returns a machine with these interfaces.
fn machine(root: &Path) -> Machine {
    for port in ["lo", "eth0", "wlan0"] {
        std::fs::create_dir_all(root.join("sys/class/net").join(port)).unwrap();
    }
    Machine::pretend(root, &[])
}

/// Chooses with these answers in order: returns the proposals of the questions, and the chosen
/// cluster interface and uplinks.
fn chosen(
    certain: bool,
    args: &Args,
    answers: &[&str],
) -> (Vec<String>, Result<[String; 2], SetupError>) {
    let held = tempfile::tempdir().unwrap();
    let mut proposal = proposal(certain);
    let (mut proposed, mut answers) = (Vec::new(), answers.iter());
    let mut answer = |_: &str, value: &str| {
        proposed.push(value.to_owned());
        answers.next().map(|answer| if answer.is_empty() { value } else { answer }.to_owned())
    };
    let result = ask_interfaces(&machine(held.path()), &mut proposal, args, &mut answer);
    let value = |key| proposal.value(key).unwrap().to_owned();
    (proposed, result.map(|()| ["cluster.interface", "uplink.interfaces"].map(value)))
}

fn both(cluster: &str, uplinks: &str) -> [String; 2] {
    [cluster, uplinks].map(str::to_owned)
}

#[test]
fn yes_takes_the_proposal_and_asks_nothing() {
    let (asked, result) = chosen(true, &args(None, None, true), &[]);
    assert_eq!(asked, [""; 0]);
    assert_eq!(result.unwrap(), both("\"eth0\"", "[\"wlan0\", \"eth1\"]"));
}

#[test]
fn unclear_ports_are_not_guessed_without_asking() {
    let (_, failure) = chosen(false, &args(None, Some("eth0"), true), &[]);
    assert_eq!(failure.unwrap_err().exit(), exit::USAGE);
    chosen(false, &args(Some("wlan0"), Some("eth0"), true), &[]).1.unwrap();
}

#[test]
fn an_answer_wins_and_the_clusters_port_is_no_uplink() {
    let (asked, result) = chosen(true, &args(None, None, false), &["eth1", ""]);
    assert_eq!(asked, ["eth0", "wlan0"]);
    assert_eq!(result.unwrap(), both("\"eth1\"", "[\"wlan0\"]"));
}

/// A mistyped answer repeats only its own question.
#[test]
fn an_invalid_answer_is_asked_for_again() {
    let answers = ["eht0", "eth0 wlan0", "eth0", "wlan7", "eth0", "wlan0, usb*"];
    let (asked, result) = chosen(true, &args(None, None, false), &answers);
    assert_eq!(asked, ["eth0", "eth0", "eth0", "wlan0, eth1", "wlan0, eth1", "wlan0, eth1"]);
    assert_eq!(result.unwrap(), both("\"eth0\"", "[\"wlan0\", \"usb*\"]"));
    let (_, ended) = chosen(true, &args(None, None, false), &["eht0"]);
    let error = ended.unwrap_err();
    assert!(error.exit() == exit::USAGE && error.help().unwrap().contains("--yes"), "{error}");
}

/// An option that is wrong is refused before a question is asked.
#[test]
fn a_port_that_is_not_there_is_refused_unless_a_glob_means_it() {
    // eth1 is what was proposed for a port that is still to come.
    for uplinks in ["wlan0,eth1", "usb*", "mac:b8:27:eb:00:00:01"] {
        chosen(true, &args(Some(uplinks), Some("eth0"), false), &[]).1.unwrap();
    }
    for (uplink, cluster, word) in [
        (Some("wlan0,nosuch0"), None, "no interface nosuch0 here\nname one of eth0, wlan0,"),
        (None, Some("eth7"), "no interface eth7"),
        (Some("eth0"), Some("eth0"), "eth0 leads to the nodes"),
        (Some(""), Some("eth0"), "at least one: wlan0"),
    ] {
        let (asked, result) = chosen(true, &args(uplink, cluster, false), &[]);
        let error = result.unwrap_err();
        let text = format!("{error}\n{}", error.help().unwrap());
        assert!(error.exit() == exit::USAGE && text.contains(word), "{text}");
        assert!(asked.is_empty(), "{asked:?}");
    }
}

/// Returns the proposal of the question whether to serve, and the value written for these answers.
fn served(obstacle: Option<&str>, yes: bool, answers: &[&str]) -> (Vec<String>, bool) {
    let (mut proposal, mut proposed) = (proposal(true), Vec::new());
    let mut answers = answers.iter();
    let mut answer = |_: &str, value: &str| {
        proposed.push(value.to_owned());
        answers.next().map(|answer| if answer.is_empty() { value } else { answer }.to_owned())
    };
    ask_dhcp(
        &mut proposal,
        &args(None, None, yes),
        obstacle.map(|text| (text.to_owned(), String::new())),
        &mut answer,
    )
    .unwrap();
    (proposed, proposal.value("cluster.dhcp.enabled") == Some("true"))
}

#[test]
fn addresses_are_served_without_an_obstacle_or_a_no() {
    let proposed = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(served(None, true, &[]), (proposed(&[]), true), "--yes asks nothing");
    assert_eq!(served(Some("no dnsmasq"), true, &[]), (proposed(&[]), false));
    assert_eq!(served(None, false, &[""]), (proposed(&["yes"]), true));
    assert_eq!(served(None, false, &["perhaps", "N"]), (proposed(&["yes", "yes"]), false));
    assert_eq!(served(Some("no dnsmasq"), false, &[""]), (proposed(&["no"]), false));
    assert_eq!(
        served(Some("no dnsmasq"), false, &["y"]),
        (proposed(&["no"]), true),
        "it will be installed"
    );
    let (mut left, no) = (proposal(true), Args { no_dhcp: true, ..Args::default() });
    ask_dhcp(&mut left, &no, None, &mut |_, _| None).unwrap();
    assert_eq!(left.value("cluster.dhcp.enabled"), None, "by an option, without a question");
    let silent = ask_dhcp(&mut proposal(true), &args(None, None, false), None, &mut |_, _| None);
    assert_eq!(silent.unwrap_err().exit(), exit::USAGE);
}

#[test]
fn another_server_or_a_missing_dnsmasq_is_an_obstacle() {
    let held = tempfile::tempdir().unwrap();
    let root = held.path().to_owned();
    let machine = Machine::pretend(&root, &[]);
    assert!(obstacle(&machine).unwrap().1.contains("dnsmasq-base"));
    machine.write("/usr/sbin/dnsmasq", b"").unwrap();
    assert_eq!(obstacle(&machine), None);
    machine
        .write("/etc/systemd/system/multi-user.target.wants/isc-dhcp-server.service", b"")
        .unwrap();
    let help = obstacle(&machine).unwrap().1;
    assert_eq!(help, "sudo systemctl disable --now isc-dhcp-server.service");
}

#[test]
fn the_old_settings_are_kept_beside_the_new_ones() {
    let held = tempfile::tempdir().unwrap();
    let root = held.path().to_owned();
    let machine = Machine::pretend(&root, &[]);
    let old = b"name = \"K\xfcche\"\n";
    machine.write(DEFAULT_FILE, old).unwrap();
    let board = Board::built_in("raspberry-pi-4").unwrap();
    let mut wanted = proposal(true);
    wanted.set("cluster.dhcp.enabled", "true".to_owned());
    carried_out(&machine, &wanted, &board);
    let kept = format!("{DEFAULT_FILE}.old");
    assert_eq!(machine.bytes(&kept).as_deref(), Some(&old[..]), "byte by byte");
    let new = machine.read(DEFAULT_FILE).unwrap();
    let settings = config::load(&[("new", new.as_str())], &board).unwrap();
    assert!(settings.cluster.dhcp.is_some());
    wanted.set("cluster.interface", text("wlan0"));
    assert_eq!(
        install(&machine, &wanted, &board).unwrap_err().exit(),
        exit::CONFIG,
        "it is an uplink as well"
    );
    assert_eq!(machine.read(DEFAULT_FILE).unwrap(), new);
    carried_out(&machine, &proposal(true), &board);
    assert_eq!(
        machine.bytes(&kept).as_deref(),
        Some(&old[..]),
        "a second setup does not overwrite what the first kept"
    );
    assert!(machine.read(&format!("{kept}.2")).as_deref() == Some(new.as_str()));
    check_whole(&machine).unwrap();
    machine.write(&format!("{DEFAULT_FILE}.d/50-old.toml"), b"nonsense = 1\n").unwrap();
    let failure = check_whole(&machine).unwrap_err();
    assert_eq!(failure.exit(), exit::CONFIG);
    assert!(failure.to_string().contains("50-old.toml:1:1"), "{failure}");
}

fn carried_out(machine: &Machine, proposal: &Proposal, board: &Board) {
    for step in install(machine, proposal, board).unwrap() {
        step.carry_out(machine).unwrap();
    }
}

/// The steps do what `doctor` advises, which then has no more advice.
#[test]
fn a_manager_releases_the_clusters_port_as_doctor_advises() {
    let held = tempfile::tempdir().unwrap();
    let machine = machine(held.path());
    let wants = "/etc/systemd/system/multi-user.target.wants";
    for unit in ["dhcpcd", "systemd-networkd"] {
        machine.write(&format!("{wants}/{unit}.service"), b"").unwrap();
    }
    machine.write("/etc/dhcpcd.conf", b"hostname\n").unwrap();
    let network = b"[Match]\nName=e*\n[Network]\nDHCP=yes\n";
    machine.write("/etc/systemd/network/20-wired.network", network).unwrap();
    let found = cluster::managed_by(&machine, "eth0");
    assert_eq!(found, [Manager::Dhcpcd, Manager::Networkd]);
    let asked = |args: &Args, answers: &[&str]| {
        let mut answers = answers.iter();
        let mut ask = |question: &str, _: &str| {
            assert!(question.contains("leave eth0 alone"), "{question}");
            answers.next().map(|answer| (*answer).to_owned())
        };
        ask_managers(found.clone(), "eth0", args, &mut ask).unwrap()
    };
    assert_eq!(asked(&args(None, None, false), &["what?", "no", "yes"]), [Manager::Networkd]);
    for manager in asked(&args(None, None, true), &[]) {
        for step in release(&machine, manager, "eth0") {
            step.carry_out(&machine).unwrap();
        }
    }
    let left = machine.read("/etc/dhcpcd.conf").unwrap();
    assert_eq!(left, "hostname\n\ndenyinterfaces eth0", "what was there is kept");
    assert_eq!(cluster::managed_by(&machine, "eth0"), []);
    for manager in Manager::ALL {
        let advice = cluster::advice(manager, "eth0");
        let (Step::Write { path, text } | Step::Append { path, text }) =
            release(&machine, manager, "eth0").remove(0)
        else {
            panic!("{manager:?} begins with no file");
        };
        let printed = format!("printf '{}' | sudo tee ", text.replace('\n', "\\n"));
        let advised = advice.replace("tee -a ", "tee ");
        assert!(advised.starts_with(&format!("{printed}{path}")), "{advice}: {printed}{path}");
    }
}

#[test]
fn a_dry_run_shows_each_step_and_does_none() {
    let held = tempfile::tempdir().unwrap();
    let machine = machine(held.path());
    let board = Board::built_in("raspberry-pi-4").unwrap();
    machine.write(DEFAULT_FILE, b"old\n").unwrap();
    machine.write("/run/systemd/system/x", b"").unwrap();
    let mut steps = install(&machine, &proposal(true), &board).unwrap();
    steps.extend(release(&machine, Manager::NetworkManager, "eth0"));
    let text = dry_run(&machine, &steps, false);
    for wanted in [
        "keep /etc/bramblegate/bramblegate.toml as /etc/bramblegate/bramblegate.toml.old\n",
        "write /etc/bramblegate/bramblegate.toml:\n    ",
        "    interface = \"eth0\"",
        "write /etc/NetworkManager/conf.d/90-eth0.conf:\n    [keyfile]\n",
        "run: nmcli general reload\n",
        "run: systemctl restart bramblegate.service\nNothing was changed.\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in {text}");
    }
    assert_eq!(machine.read(DEFAULT_FILE).as_deref(), Some("old"));
    assert!(!machine.exists("/etc/NetworkManager"));
}

/// Raspberry Pi OS as delivered: netplan's file by cloud-init, NetworkManager enabled but not
/// running yet at that time of the boot. ifupdown is from older systems.
#[test]
fn profiles_restored_at_each_boot_are_taken_out() {
    let held = tempfile::tempdir().unwrap();
    let root = held.path();
    std::fs::create_dir_all(root.join("sys/class/net/eth0")).unwrap();
    let set = [("netplan set ethernets.eth0=null", "")];
    let machine = Machine::pretend(root, &set);
    let wants = "/etc/systemd/system/multi-user.target.wants/NetworkManager.service";
    machine.write(wants, b"").unwrap();
    machine.write("/etc/cloud/cloud.cfg", b"").unwrap();
    let netplan = "/etc/netplan/50-cloud-init.yaml";
    machine.write(netplan, b"network:\n  ethernets:\n    eth0:\n      dhcp4: true\n").unwrap();
    let interfaces = "auto lo eth0\niface eth0 inet static\n  address 10.0.0.1/24\n\niface wlan0 \
                      inet dhcp\n  wpa-ssid home\n";
    machine.write("/etc/network/interfaces", interfaces.as_bytes()).unwrap();
    assert_eq!(cluster::managed_by(&machine, "eth0"), [Manager::NetworkManager]);
    let profiles = cluster::configured_by(&machine, "eth0");
    let sources: Vec<_> = profiles.iter().map(|profile| profile.source().0).collect();
    assert_eq!(sources, ["netplan", "ifupdown"]);
    let mut none = |_: &str, _: &str| None;
    let chosen = ask_profiles(profiles, "eth0", &args(None, None, true), &mut none).unwrap();
    let steps: Vec<Step> = release(&machine, Manager::NetworkManager, "eth0")
        .into_iter()
        .chain(chosen.iter().flat_map(|profile| steps::take_out(&machine, profile, "eth0")))
        .collect();
    assert!(steps.iter().any(|step| step.to_string() == "run: netplan set ethernets.eth0=null\n"));
    steps.iter().for_each(|step| step.carry_out(&machine).unwrap());
    assert_eq!(cluster::managed_by(&machine, "eth0"), []);
    let off = machine.read("/etc/cloud/cloud.cfg.d/99-bramblegate.cfg").unwrap();
    assert_eq!(off, "network: {config: disabled}");
    let left = machine.read("/etc/network/interfaces").unwrap();
    let wanted = "auto lo eth0\niface eth0 inet manual\n#   address 10.0.0.1/24\n\niface wlan0 inet \
                  dhcp\n  wpa-ssid home";
    assert_eq!(left, wanted, "the other interface keeps its options");
    let kept = machine.read("/etc/network/interfaces.old").unwrap();
    assert_eq!(format!("{kept}\n"), interfaces);
}

/// A settings file on an image's boot partition is taken as a whole, or nothing changes.
#[test]
fn existing_settings_are_taken_as_a_whole() {
    let held = tempfile::tempdir().unwrap();
    let machine = machine(held.path());
    let file = held.path().join("boot.toml");
    let text = "# mine\nboard = \"raspberry-pi-4\"\nuplink.interfaces = \
                [\"wlan0\"]\ncluster.interface = \"eth7\"\n";
    std::fs::write(&file, text).unwrap();
    let (steps, port) = steps_from_file(&machine, &file).unwrap();
    assert_eq!(port, "eth7", "it may be still to come");
    steps.iter().for_each(|step| step.carry_out(&machine).unwrap());
    assert_eq!(machine.bytes(DEFAULT_FILE).unwrap(), text.as_bytes());
    std::fs::write(&file, "cluster.interfaec = \"eth0\"\n").unwrap();
    let error = steps_from_file(&machine, &file).unwrap_err();
    assert_eq!(error.exit(), exit::CONFIG);
    assert!(error.to_string().contains("boot.toml:1:1: error:"), "{error}");
}

/// At boot, and while an image is made, no program is asked to apply anything.
#[test]
fn with_no_start_only_files_are_written() {
    let held = tempfile::tempdir().unwrap();
    let machine = machine(held.path());
    machine.write("/run/systemd/system/x", b"").unwrap();
    let wants = "/etc/systemd/system/multi-user.target.wants/NetworkManager.service";
    machine.write(wants, b"").unwrap();
    let file = held.path().join("boot.toml");
    std::fs::write(&file, "uplink.interfaces = [\"wlan0\"]\ncluster.interface = \"eth0\"\n")
        .unwrap();
    let planned = |no_start| {
        let args = Args { from: Some(file.clone()), yes: true, no_start, ..Args::default() };
        let board = Board::built_in("raspberry-pi-4").unwrap();
        dry_run(&machine, &plan(&machine, &board, true, &args).unwrap(), no_start)
    };
    assert!(planned(false).contains("run: nmcli general reload\nrun: systemctl enable"));
    let text = planned(true);
    assert!(text.contains("write /etc/NetworkManager/conf.d/90-eth0.conf"), "{text}");
    assert!(!text.contains("run: "), "{text}");
}

#[test]
fn snmp_is_asked_for_only_where_there_is_snmpd() {
    let held = tempfile::tempdir().unwrap();
    let machine = machine(held.path());
    let asked = |args: &Args| {
        let mut questions = 0;
        let answer = ask_snmp(&machine, args, &mut |_: &str, _: &str| {
            questions += 1;
            Some("yes".to_owned())
        });
        (answer.unwrap(), questions)
    };
    let plain = args(None, None, false);
    assert_eq!(asked(&plain), (false, 0), "there is no snmpd");
    let wanted = Args { snmp: true, yes: true, ..Args::default() };
    assert_eq!(asked(&wanted), (true, 0));
    machine.write("/usr/sbin/snmpd", b"").unwrap();
    assert_eq!(asked(&plain), (true, 1));
    assert_eq!(asked(&args(None, None, true)), (false, 0), "nothing is opened without being asked");
    let steps = snmp(&machine);
    steps.iter().for_each(|step| step.carry_out(&machine).unwrap());
    assert_eq!(steps.len(), 1, "no commands without systemd: {steps:?}");
    let written = machine.read(crate::cli::snmp::FILE).unwrap();
    assert_eq!(written.lines().filter(|line| !line.starts_with('#')).count(), 3, "{written}");
    assert_eq!(asked(&plain), (false, 0), "it is set up");
    std::fs::create_dir_all(held.path().join("run/systemd/system")).unwrap();
    let text: String = snmp(&machine).iter().map(Step::to_string).collect();
    assert!(text.contains("run: systemctl restart snmpd\n"), "{text}");
    assert!(text.contains("run: systemctl enable --now bramblegate-snmp.service\n"), "{text}");
}

#[test]
fn the_venue_sees_the_page_only_if_that_was_asked_for() {
    let held = tempfile::tempdir().unwrap();
    let machine = machine(held.path());
    let asked = |args: &Args, answer: &str| {
        let (mut questions, mut proposal) = (0, proposal(true));
        let yes = ask_web(&machine, &mut proposal, args, &mut |_: &str, _: &str| {
            questions += 1;
            Some(answer.to_owned())
        });
        (yes.unwrap(), questions, proposal.value("uplink.allow").map(str::to_owned))
    };
    let allowed = Some("[\"ssh\", \"icmp\", \"mdns\", \"web\"]".to_owned());
    let plain = args(None, None, false);
    assert_eq!(asked(&plain, "yes"), (false, 0, None), "there is no page");
    let wanted = Args { web: true, yes: true, ..Args::default() };
    assert_eq!(asked(&wanted, ""), (true, 0, allowed.clone()));
    machine.write(crate::cli::web::UNIT_FILE, b"").unwrap();
    assert_eq!(asked(&plain, "no"), (false, 1, None));
    assert_eq!(asked(&plain, "yes"), (true, 1, allowed.clone()));
    let quiet = asked(&args(None, None, true), "");
    assert_eq!(quiet, (false, 0, None), "nothing is opened without being asked");
    let mut proposal = proposal(true);
    ask_web(&machine, &mut proposal, &wanted, &mut |_: &str, _: &str| None).unwrap();
    let board = Board::built_in("raspberry-pi-4").unwrap();
    for step in install(&machine, &proposal, &board).unwrap() {
        step.carry_out(&machine).unwrap();
    }
    let text = machine.read(DEFAULT_FILE).unwrap();
    let settings = config::load(&[("t", text)], &board).unwrap();
    let usual = "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n";
    let mut usual = config::load(&[("t", usual)], &board).unwrap().uplink.allow;
    usual.push(config::Allow::Web);
    assert_eq!(settings.uplink.allow, usual, "nothing of what is allowed anyway is lost");
    assert_eq!(web(&machine), None, "no commands without systemd");
    std::fs::create_dir_all(held.path().join("run/systemd/system")).unwrap();
    let step = web(&machine).unwrap().to_string();
    assert_eq!(step, "run: systemctl enable --now bramblegate-web.service\n");
}
