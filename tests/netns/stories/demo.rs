//! The demo: its story to the end, verbs inside it, several at once, and each of its keys.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use bramblegate_lab::inside::furnish;
use bramblegate_lab::shell::run;
use bramblegate_lab::{Error, Result};

use super::scene::{ensure, until};
use super::verbs::reported;

/// The acts of the demo's own story.
const ACTS: [&str; 4] = [
    include_str!("../../../crates/lab/src/demo/home.toml"),
    include_str!("../../../crates/lab/src/demo/conference.toml"),
    include_str!("../../../crates/lab/src/demo/hotel.toml"),
    include_str!("../../../crates/lab/src/demo/hall.toml"),
];

/// Runs the demo like a new user.
fn demo(words: &[&str]) -> Result<(i32, String, String)> {
    let mut command = Command::new(crate::program());
    let output = command.args(["demo", "--plain"]).args(words).output();
    output.map(|output| reported(&output)).map_err(|error| Error(format!("demo: {error}")))
}

pub fn runs_to_its_end() -> Result<()> {
    furnish()?;
    let (code, story, error) = demo(&[])?;
    println!("{story}{error}");
    let expected: usize = ACTS.iter().map(|act| act.matches("[[expect]]").count()).sum();
    let seen = story.lines().filter(|line| line.contains("  seen ")).count();
    ensure("all is well", code == 0 && !story.contains("MISSING"))?;
    ensure(&format!("everything expected was seen: {seen} of {expected}"), seen == expected)?;
    let sentences = story.lines().filter(|line| line.contains("  seen ")).all(|line| {
        line.contains("Expected: ") && line.contains(" Seen after ") && line.ends_with('.')
    });
    ensure("each says what was expected and what was seen", sentences)?;
    let debug = [" true", " false", "masquerade"].iter().any(|word| facts(&story).contains(word));
    ensure("no word of a programmer among the facts", !debug)?;
    let red = story
        .lines()
        .take_while(|line| !line.contains("rpi2 dies"))
        .any(|line| line.contains("led       red"));
    ensure("nothing is red while the nodes start", !red)
}

/// The URL that the demo prints works outside its namespaces while the demo runs.
pub fn page_is_in_the_machines_browser() -> Result<()> {
    furnish()?;
    let io = |error: std::io::Error| Error(error.to_string());
    run("ip", &["link", "set", "lo", "up"])?;
    let mut command = Command::new(crate::program());
    command.args(["demo", "--plain", "--seconds", "40"]).stdin(Stdio::null());
    let mut demo = command.stdout(Stdio::piped()).spawn().map_err(io)?;
    let lines = demo.stdout.take().map(|out| BufReader::new(out).lines());
    let mut printed = lines.into_iter().flatten().map_while(std::io::Result::ok);
    let url = printed.find_map(|line| {
        let at = line.find("http://127.0.0.1:")?;
        line.get(at..).map(|url| url.trim().to_owned())
    });
    // Discard further output, so that the demo does not block.
    std::thread::spawn(move || printed.for_each(drop));
    let url = url.ok_or_else(|| Error("no URL was printed".into()))?;
    let page = |path: &str| {
        let fetched =
            Command::new("curl").args(["-s", "-m", "2"]).arg(format!("{url}{path}")).output();
        fetched
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    };
    let seen = until("the page answers", || page("status.json").contains("\"name\":\"rpi2\""));
    let _ = demo.kill();
    demo.wait().map_err(io)?;
    seen?;
    until("and ends with the demo", || page("healthz").is_empty()).map(drop)
}

/// In the user namespace of an ordinary user, dnsmasq runs in its debugging mode, with a date
/// before each line of its log: the gateway parses it anyway.
pub fn ordinary_users_nodes_are_heard() -> Result<()> {
    furnish()?;
    let io = |error: std::io::Error| Error(error.to_string());
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(crate::program());
    command.args(["demo", "--plain", "--seconds", "26"]).stdin(Stdio::null());
    let mut demo = command.stdout(Stdio::piped()).spawn().map_err(io)?;
    let mut lines = demo.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines());
    let mut story = String::new();
    for line in lines.by_ref().map_while(std::io::Result::ok) {
        story += &format!("{line}\n");
        if line.contains("rpi3      up") {
            break;
        }
    }
    // More than dnsmasq could miss by chance, long after its start.
    let ask = "pid=$(pgrep -f '[r]un -c /run/world' | head -n 1); for time in 1 2 3 4; do nsenter -t \
               $pid -U --preserve-credentials -n -m -p ip netns exec rpi3 busybox udhcpc -i eth0 -f \
               -n -q -t 2 -T 1 -s /bin/true; sleep 1; done";
    let asked = Command::new("sh").args(["-c", ask]).output().map_err(io)?;
    let (_, out, error) = reported(&asked);
    story.extend(lines.map_while(std::io::Result::ok).map(|line| line + "\n"));
    demo.wait().map_err(io)?;
    println!("{story}{out}{error}");
    let obtained = (out + &error).matches("obtained").count();
    ensure(&format!("each question is answered: {obtained}"), obtained == 4)?;
    ensure("no false alarm", !story.contains("gateway-blocked"))
}

/// Returns the lines of a plain demo that are neither captions nor expectations.
fn facts(story: &str) -> String {
    let lines = story.lines().filter(|line| !line.contains(" seen ") && !line.contains(" >>> "));
    lines.collect::<Vec<_>>().join("\n")
}

/// The program as installed, away from the demo's.
pub fn ends_early_and_reports_what_was_not_reached() -> Result<()> {
    furnish()?;
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed-demo");
    let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install.sh"))
        .arg("install")
        .arg(crate::program())
        .arg(&root)
        .args(["/usr", "/usr/lib"])
        .output()
        .map_err(|error| Error(error.to_string()))?;
    ensure(&format!("it is installed: {made:?}"), made.status.success())?;
    let mut command = Command::new(root.join("usr/bin/bramblegate"));
    let output = command.args(["demo", "--plain", "--seconds", "2"]).output();
    let (code, story, error) = reported(&output.map_err(|error| Error(error.to_string()))?);
    let _ = std::fs::remove_dir_all(&root);
    println!("{story}{error}");
    let logged = story
        .lines()
        .last()
        .is_some_and(|line| line.ends_with("expectations were not reached yet."));
    ensure("it ends well and says that it was not the whole", code == 0 && logged)?;
    let full = std::fs::File::create("/dev/full").map_err(|error| Error(error.to_string()))?;
    let mut command = Command::new(crate::program());
    let output = command.args(["demo", "--plain", "--seconds", "2"]).stdout(full).output();
    let (code, _, error) = reported(&output.map_err(|error| Error(error.to_string()))?);
    ensure("a disk that is full is reported", code == 71 && error.contains("cannot be written"))
}

/// Without the translator's program beside it, the demo skips the scene that needs it, and informs
/// the user.
pub fn scene_that_cannot_be_played_is_left_out() -> Result<()> {
    furnish()?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo-without-translator");
    let io = |error: std::io::Error| Error(error.to_string());
    fs::create_dir_all(&folder).map_err(io)?;
    for name in ["bramblegate", "bramblegate-lab"] {
        let built = crate::program().with_file_name(name);
        fs::copy(&built, folder.join(name)).map_err(io)?;
    }
    let mut command = Command::new(folder.join("bramblegate"));
    let output = command.args(["demo", "--plain", "--seconds", "2"]).output().map_err(io)?;
    let _ = fs::remove_dir_all(&folder);
    let (code, story, error) = reported(&output);
    let words = ["left out", "only IPv6", "bramblegate-clat is not installed"];
    let is_named = story.lines().any(|line| words.iter().all(|word| line.contains(word)));
    ensure(&format!("it is named: {code}\n{story}{error}"), code == 0 && is_named)
}

/// Where `/proc` is partly masked, as in a container, a new one cannot be mounted without root: the
/// demo explains that with a remedy, before `unshare` fails.
pub fn where_namespaces_are_forbidden_it_names_the_remedy() -> Result<()> {
    furnish()?;
    let io = |error: std::io::Error| Error(error.to_string());
    // The folder may be inaccessible to other users.
    let programs = "/run/programs";
    fs::create_dir_all(programs).map_err(io)?;
    let built = crate::program();
    let built = built.parent().map_or_else(String::new, |built| built.display().to_string());
    run("mount", &["--bind", &built, programs])?;
    run("mount", &["--bind", "/dev/null", "/proc/uptime"])?;
    let map = fs::read_to_string("/proc/self/uid_map").map_err(io)?;
    let mut command = Command::new("setpriv");
    command.arg("--no-new-privs");
    let is_of_root = map.split_whitespace().nth(2) != Some("1");
    if is_of_root {
        command.args(["--reuid=65534", "--clear-groups"]);
    }
    command.arg(format!("{programs}/bramblegate")).args(["demo", "--plain", "--seconds", "2"]);
    let (code, story, error) = reported(&command.output().map_err(io)?);
    let remedy = if is_of_root { "help: run `sudo " } else { "help: a container may forbid them" };
    let right = code == 71 && error.contains("unshare: ") && error.contains(remedy);
    ensure(&format!("it is named: {code}\n{story}{error}"), right)
}

/// A demo in the background; dropping this kills it.
struct Demo(Child);

impl Demo {
    fn start(words: &[&str]) -> Result<Self> {
        let mut command = Command::new(crate::program());
        command.args(["demo", "--plain"]).args(words);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        child.map(Self).map_err(|error| Error(format!("demo: {error}")))
    }

    /// Returns the number for `attach --demo`.
    fn number(&self) -> String {
        self.0.id().to_string()
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a verb inside the demo; returns exit code, output, errors.
fn attach(words: &[&str]) -> Result<(i32, String, String)> {
    let mut command = Command::new(crate::program());
    let output = command.args(["demo", "attach"]).args(words).stdin(Stdio::null()).output();
    output.map(|output| reported(&output)).map_err(|error| Error(format!("attach: {error}")))
}

/// Checks that the verb ends with this code, and that its output and errors together contain the
/// words.
fn shows(verb: &str, code: i32, words: &str) -> Result<()> {
    let split: Vec<&str> = verb.split(' ').collect();
    let (ended, out, error) = attach(&split)?;
    let right = ended == code && (out.clone() + &error).contains(words);
    ensure(&format!("{verb}: {code}, {words}: {ended}\n{out}{error}"), right)
}

pub fn attach_runs_every_verb_with_the_settings_of_the_demo() -> Result<()> {
    furnish()?;
    shows("status", 69, "no demo runs")?;
    let _demo = Demo::start(&["--seconds", "60"])?;
    until("all nodes are up", || {
        attach(&["status"]).is_ok_and(|(_, out, _)| out.contains("3/3 up"))
    })?;
    readme_shows_the_status_as_it_is()?;
    shows("status", 0, "10.99.0.126")?;
    shows("panel --once", 0, "green")?;
    shows("check", 0, "/etc/bramblegate/bramblegate.toml: ok")?;
    shows("print settings", 0, "192.168.50.11")?;
    shows("print ruleset", 0, "bramblegate")?;
    shows("nodes", 0, "rpi3")?;
    shows("nodes hosts", 0, "rpi1.bramble")?;
    shows("ssh-config", 0, "rpi2.bramble")?;
    shows("nodes add rpi8 --mac b8:27:eb:00:00:08 --address 192.168.50.18", 0, "")?;
    until("the daemon has taken it", || {
        attach(&["nodes"]).is_ok_and(|(_, out, _)| out.contains("rpi8"))
    })?;
    shows("nodes rename rpi8 rpi9", 0, "")?;
    shows("ssh-config", 0, "rpi9.bramble")?;
    shows("nodes forget rpi9", 0, "")?;
    shows("nodes drain rpi2", 0, "")?;
    shows("nodes", 0, "maintenance")?;
    shows("nodes resume rpi2", 0, "")?;
    let (code, report, error) = attach(&["doctor"])?;
    let right = code < 2 && !report.contains("host-settings") && error.is_empty();
    ensure(&format!("doctor knows the settings: {code}\n{report}{error}"), right)?;
    shows("setup --yes", 69, "inside of the demo")?;
    shows("demo attach status", 69, "already is the inside")
}

/// README's example of `status` in the demo has the current rows and words. `UPDATE=1` writes it.
fn readme_shows_the_status_as_it_is() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).map_err(|error| Error(error.to_string()))?;
    let example = readme
        .split_once("demo attach status\n```\n")
        .and_then(|(_, rest)| rest.split_once("```text\n")?.1.split_once("```\n"))
        .map(|(example, _)| example)
        .ok_or_else(|| Error("README.md has no example of `demo attach status`".into()))?;
    let mut seen = String::new();
    let same = until("the status has the form of README's example", || {
        seen = attach(&["status"]).map(|(_, out, _)| out).unwrap_or_default();
        form(&seen) == form(example)
    });
    if same.is_err() && std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        let updated = readme.replace(example, &seen);
        return fs::write(&path, updated).map_err(|error| Error(error.to_string()));
    }
    let difference = || Error(format!("UPDATE=1 puts this into README.md:\n{seen}"));
    same.map(drop).map_err(|_| difference())
}

/// Returns the reproducible part of a status: no numbers, times and texts of the display, and
/// nothing about this machine.
fn form(status: &str) -> Vec<Vec<&str>> {
    status.lines().map(words_of_row).collect()
}

fn words_of_row(line: &str) -> Vec<&str> {
    if let Some(head @ "host") = line.get(..4) {
        return vec![head];
    }
    let shown = line.split_once('[').map_or(line, |(before, _)| before);
    let is_changing =
        |word: &&str| word.parse::<f64>().is_ok() || ["µs", "ms", "s", "min", "h"].contains(word);
    shown.split_whitespace().filter(|word| !is_changing(word)).collect()
}

pub fn nothing_inside_writes_to_the_machines_etc() -> Result<()> {
    furnish()?;
    let before = names("/etc")?;
    let _demo = Demo::start(&["--seconds", "60"])?;
    until("the demo is built", || attach(&["status"]).is_ok_and(|(code, ..)| code < 3))?;
    let shell = |line: &str| attach(&["shell", "-c", line]);
    // Nothing is written, even where it would be allowed.
    let (code, _, error) = shell("exec >>/etc/passwd")?;
    ensure(&format!("what is there is read-only: {error}"), code != 0)?;
    let (code, _, error) = shell("exec >>/etc/apt/sources.list.d/bramblegate-demo-test")?;
    ensure(&format!("and the folders, too: {error}"), code != 0)?;
    let (code, out, error) = shell("echo new >/etc/bramblegate-demo-test && ls /etc")?;
    let there = out.contains("bramblegate-demo-test") && out.contains("passwd");
    ensure(&format!("new files stay inside: {error}"), code == 0 && there)?;
    let (_, out, _) = shell("command -v bramblegate; id -u")?;
    ensure(&format!("the shell finds the program: {out}"), out.contains("bramblegate"))?;
    ensure("the machine has none of it", names("/etc")? == before)
}

/// Returns the names in a folder, sorted.
fn names(folder: &str) -> Result<Vec<std::ffi::OsString>> {
    let entries = fs::read_dir(folder).map_err(|error| Error(format!("{folder}: {error}")))?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    Ok(names)
}

pub fn of_several_demos_each_is_named_and_a_killed_one_is_gone() -> Result<()> {
    furnish()?;
    let (mut one, other) = (Demo::start(&["--seconds", "60"])?, Demo::start(&["--seconds", "60"])?);
    for demo in [&one, &other] {
        until("it is built", || {
            attach(&["--demo", &demo.number(), "status"]).is_ok_and(|(code, ..)| code < 3)
        })?;
    }
    let (code, _, error) = attach(&["status"])?;
    let named =
        [&one, &other].iter().all(|demo| error.contains(&format!("--demo {}", demo.number())));
    ensure(&format!("the choice is named: {error}"), code == 64 && named)?;
    let (code, _, error) = attach(&["--demo", "1", "status"])?;
    ensure(&format!("no other is taken: {error}"), code == 64 && error.contains("name one"))?;
    one.end();
    until("the one that is left needs no name", || {
        attach(&["status"]).is_ok_and(|(code, ..)| code < 3)
    })?;
    let (code, _, error) = attach(&["--demo", &one.number(), "status"])?;
    ensure(&format!("the killed one is gone: {error}"), code == 64)
}

/// A venue in which little happens.
const SHORT: &str = r#"
purpose = "A short visit"
[[network]]
address = "10.99.0.1/24"
[network.dhcp]
address = "10.99.0.126"
[[expect]]
row1 = "10.99.0.126"
"#;

pub fn loop_starts_the_story_again() -> Result<()> {
    furnish()?;
    let file = Path::new("/run/short.toml");
    fs::write(file, SHORT).map_err(|error| Error(error.to_string()))?;
    let (code, story, error) =
        demo(&["--venue", "/run/short.toml", "--loop=1", "--seconds", "12"])?;
    let begun = story.lines().filter(|line| line.contains(">>>       A short visit")).count();
    let seen = story.lines().filter(|line| line.contains("  seen ")).count();
    ensure(
        &format!("{begun} times begun, {seen} times seen:\n{story}{error}"),
        code == 0 && begun >= 3 && seen >= 2,
    )
}

/// A demo on a terminal of 80x24, without colours; a file collects its output.
struct Stage {
    script: Child,
    keys: ChildStdin,
    log: PathBuf,
}

impl Stage {
    fn open() -> Result<Self> {
        let log = PathBuf::from("/run/demo-screen");
        let line = format!("stty rows 24 cols 80; exec '{}' demo", crate::program().display());
        let mut command = Command::new("script");
        command.args(["-qefc", &line]).arg(&log).env("NO_COLOR", "1").env("TERM", "xterm");
        let mut script = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| Error(format!("script: {error}")))?;
        let keys = script.stdin.take().ok_or_else(|| Error("no way to type".into()))?;
        Ok(Self { script, keys, log })
    }

    fn drawn(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Presses a key and waits until each of these was drawn, one after the other.
    fn press(&mut self, key: char, answers: &[&str]) -> Result<()> {
        let mut from = self.drawn().len();
        self.keys.write_all(&[key as u8]).map_err(|error| Error(error.to_string()))?;
        for answer in answers {
            let start = Instant::now();
            loop {
                let drawn = self.drawn();
                let found = drawn.get(from..).and_then(|new| new.find(answer));
                if let Some(at) = found {
                    from += at + answer.len();
                    println!("{key}: {answer}: after {:?}", start.elapsed());
                    break;
                }
                if start.elapsed() > Duration::from_secs(10) {
                    let last: String = drawn.chars().rev().take(3000).collect();
                    let last: String = last.chars().rev().collect();
                    return Err(Error(format!("{key} is not answered by {answer:?}:\n{last}")));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

pub fn every_key_is_answered_and_proved() -> Result<()> {
    furnish()?;
    let mut stage = Stage::open()?;
    until("it is online", || stage.drawn().contains("✓ 3 of 3 nodes up"))?;
    stage
        .press('f', &["nft flush ruleset", "✓ The rules are in the kernel, checked: nft lists "])?;
    stage.press(
        'r',
        &["asks for its lease", "✓ The DHCP server has renewed the lease: 10.99.0.126"],
    )?;
    stage.press('p', &["captive portal", "✓ The portal is recognised"])?;
    stage.press('p', &["the portal opens", "✓ The internet is there: a node's page loads"])?;
    stage.press('s', &["switches forwarding off", "✓ Forwarding is on again in the kernel"])?;
    stage.press('a', &["there is nothing to acknowledge"])?;
    stage.press('b', &["for the next page", "✓ The LCD shows: "])?;
    stage.press('n', &["rpi2 dies", "✓ Noticed: the LED blinks amber"])?;
    stage.press('b', &["for the next page", "✓ The LCD stays with what is wrong: rpi2"])?;
    stage.press('a', &["you know what is wrong", "✓ Acknowledged"])?;
    stage.press('n', &["rpi2 comes back", "✓ rpi2 answers again"])?;
    stage.press('c', &["You pull the cable", "✓ The address has left the LCD: NO CABLE"])?;
    stage.press('c', &["plug the cable in again", "✓ The LCD shows 10.99.0.126"])?;
    stage.press('v', &["only IPv6", "✓ The LCD shows 2001:db8:7::d6"])?;
    stage.press('v', &["In a hotel", "✓ The LCD shows 172.20.6.77"])?;
    stage.press('o', &["exhibition hall", "✓ Both networks are 192.168.50.0/24"])?;
    stage.press('q', &["Try it on your own head node: see \"Install\""])?;
    let code = stage.script.wait().map_err(|error| Error(error.to_string()))?.code();
    ensure(&format!("it ends well: {code:?}"), code == Some(0))
}
