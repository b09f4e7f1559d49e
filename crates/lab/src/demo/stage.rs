//! Inside the namespaces: the world, the story, and what a person's keys do to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bramblegate_api::status::{NodeHealth, Snapshot, UplinkState};

use super::{Args, is_plain, picture};
use crate::file::Internet;
use crate::play::{Observer, play};
use crate::world::Input;
use crate::{Error, Result, Venue, World};
use bramblegate::cli::panel::Style;
use bramblegate::cli::status::DEFAULT_SOCKET;
use bramblegate::cli::terminal::{self, Screen};
use bramblegate::cli::{exit, output};

/// The story: one venue after the other.
const STORY: [(&str, &str); 3] = [
    ("home", include_str!("home.toml")),
    ("hotel", include_str!("hotel.toml")),
    ("hall", include_str!("hall.toml")),
];

/// What a key does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Cable,
    Node,
    Venue,
    Overlap,
    Flush,
    Forwarding,
    Portal,
    Renew,
    Acknowledge,
    NextPage,
    Quit,
}

/// What a person can do: the key is the letter in brackets.
const KEYS: [(&str, Deed); 11] = [
    ("[c]able", Deed::Cable),
    ("[n]ode", Deed::Node),
    ("[v]enue", Deed::Venue),
    ("[o]verlap", Deed::Overlap),
    ("[f]lush rules", Deed::Flush),
    ("[s]witch forwarding off", Deed::Forwarding),
    ("[p]ortal", Deed::Portal),
    ("[r]enew lease", Deed::Renew),
    ("[a]cknowledge", Deed::Acknowledge),
    ("[b]utton: next page", Deed::NextPage),
    ("[q]uit", Deed::Quit),
];

/// Returns the deed of a key. Control-C and Control-D end, as everywhere: the terminal is raw.
fn deed(key: char) -> Option<Deed> {
    match key {
        '\u{3}' | '\u{4}' => Some(Deed::Quit),
        _ => KEYS
            .into_iter()
            .find(|(words, _)| words.chars().nth(1) == Some(key))
            .map(|(_, deed)| deed),
    }
}

/// Returns the line of keys: what there is, two spaces apart.
fn key_line() -> String {
    KEYS.map(|(words, _)| words).join("  ")
}

/// Tells the story, or plays the venue of `--venue`.
pub fn perform(args: &Args) -> ExitCode {
    let mut show = Show::new(args);
    let result = show.run(args);
    let (missing, unreached) = (show.missing.clone(), show.unreached);
    drop(show.screen.take());
    if let (None, Some(words)) = (&missing, unreached_in_words(unreached)) {
        output::out(&words);
    }
    match (result, missing) {
        (Ok(()), None) => ExitCode::from(show.unwritten),
        (Ok(()), Some(missing)) => {
            output::err(&format!("bramblegate demo: expected and not seen: {missing}\n"));
            ExitCode::FAILURE
        }
        (Err(error), _) => {
            output::err(&format!("bramblegate demo: {error}\n"));
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

struct Show {
    start: Instant,
    end: Option<Duration>,
    screen: Option<Screen>,
    colour: bool,
    keys: Receiver<char>,
    /// a key that has not been acted on yet
    pressed: Option<Deed>,
    captions: Vec<String>,
    printed: BTreeMap<String, String>,
    missing: Option<String>,
    /// what was expected and has been seen
    seen: usize,
    /// what was expected after the end that `--seconds` made
    unreached: usize,
    /// the exit code, where standard output could not be written
    unwritten: u8,
    over: bool,
    pulled: bool,
    node_down: bool,
    portal: bool,
    place: usize,
}

impl Show {
    fn new(args: &Args) -> Self {
        Self {
            start: Instant::now(),
            end: args.seconds.map(Duration::from_secs),
            screen: (!is_plain(args)).then(Screen::open),
            colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            keys: if is_plain(args) { std::sync::mpsc::channel().1 } else { terminal::keys() },
            pressed: None,
            captions: Vec::new(),
            printed: BTreeMap::new(),
            missing: None,
            seen: 0,
            unreached: 0,
            unwritten: 0,
            over: false,
            pulled: false,
            node_down: false,
            portal: false,
            place: 0,
        }
    }

    fn run(&mut self, args: &Args) -> Result<()> {
        let acts = match &args.venue {
            Some(path) => vec![Venue::read(path)?],
            None => {
                STORY.iter().map(|(name, text)| Venue::parse(name, text)).collect::<Result<_>>()?
            }
        };
        let program = gateway()?;
        let mut world: Option<World> = None;
        for (place, act) in acts.iter().enumerate() {
            self.place = place;
            self.caption(&act.purpose);
            let world = match &mut world {
                None => {
                    let mut built = World::build(act, &program)?;
                    built.start_gateway()?;
                    put_socket_at_its_usual_place(&built);
                    world.insert(built)
                }
                Some(world) => {
                    world.move_to(act)?;
                    world
                }
            };
            if play(world, act, true, self).is_err() || self.over || self.pressed.is_some() {
                break;
            }
        }
        if self.is_late() {
            let expected = acts
                .iter()
                .flat_map(|act| &act.moments)
                .map(|moment| moment.expects.len())
                .sum::<usize>();
            self.unreached = expected.saturating_sub(self.seen);
        }
        let Some(world) = &mut world else { return Ok(()) };
        if self.screen.is_some() && !self.over {
            self.improvise(world, &acts)?;
        }
        if self.missing.is_some() && self.screen.is_none() {
            output::err(&world.story());
        }
        Ok(())
    }

    /// The time that `--seconds` gave is over.
    fn is_late(&self) -> bool {
        self.end.is_some_and(|end| self.start.elapsed() >= end)
    }

    /// The story is over, or a key was pressed: from now on keys make it.
    fn improvise(&mut self, world: &mut World, acts: &[Venue]) -> Result<()> {
        if let Ok(status) = world.status() {
            self.take_over(&status);
        }
        if self.pressed.is_none() {
            self.caption(if self.missing.is_some() {
                "Something expected was not seen; look around, q ends"
            } else {
                "That was the story. Now it is your turn."
            });
        }
        while !self.over {
            if let Some(deed) = self.pressed.take() {
                // What cannot be done in this venue is reported, and ends nothing.
                if let Err(error) = self.act(world, deed, acts) {
                    self.caption(&format!("That cannot be done here: {error}"));
                }
            }
            std::thread::sleep(Duration::from_millis(40));
            let status = world.status().ok();
            self.look(world, status.as_ref());
        }
        Ok(())
    }

    /// Where the story was left: the next key of a pair undoes what it did.
    fn take_over(&mut self, status: &Snapshot) {
        let state = &status.uplink.state;
        (self.pulled, self.portal) =
            (*state == UplinkState::NoCarrier, *state == UplinkState::Portal);
        self.node_down =
            status.nodes.iter().any(|node| node.name == "rpi2" && node.health == NodeHealth::Down);
    }

    fn act(&mut self, world: &mut World, deed: Deed, acts: &[Venue]) -> Result<()> {
        let port = acts
            .first()
            .and_then(|act| act.networks.first())
            .map_or_else(|| "eth1".to_owned(), |network| network.port.clone());
        match deed {
            Deed::Cable if self.pulled => world.plug_cable(&port)?,
            Deed::Cable => world.pull_cable(&port)?,
            Deed::Node if self.node_down => world.node_up("rpi2")?,
            Deed::Node => world.node_down("rpi2")?,
            Deed::Flush => world.foreign_flush()?,
            Deed::Forwarding => world.act(&crate::file::Action::ForwardingOff)?,
            Deed::Portal => world
                .internet(&port, if self.portal { Internet::Open } else { Internet::Portal })?,
            Deed::Renew => world.renew(&port)?,
            Deed::Acknowledge => world.press(Input::Acknowledge, Duration::ZERO)?,
            Deed::NextPage => world.press(Input::Next, Duration::ZERO)?,
            Deed::Venue | Deed::Overlap => return self.travel(world, deed == Deed::Overlap, &port),
            Deed::Quit => return Ok(()),
        }
        let caption = match deed {
            Deed::Cable => {
                toggle(&mut self.pulled, "You pull the cable", "You plug the cable in again")
            }
            Deed::Node => toggle(&mut self.node_down, "rpi2 dies", "rpi2 comes back"),
            Deed::Acknowledge => "You press the button: you know what is wrong",
            Deed::NextPage => "You press the button for the next page",
            Deed::Flush => "Another tool runs nft flush ruleset",
            Deed::Forwarding => "Another tool switches forwarding off",
            Deed::Portal => {
                toggle(&mut self.portal, "A captive portal stands in the way", "The portal opens")
            }
            Deed::Renew | Deed::Venue | Deed::Overlap | Deed::Quit => {
                "The DHCP client asks for its lease again"
            }
        };
        self.caption(caption);
        Ok(())
    }

    /// To a venue of the story, by the port that the settings have as uplink: those of a venue file
    /// may know no other.
    fn travel(&mut self, world: &mut World, overlap: bool, port: &str) -> Result<()> {
        self.place = if overlap { 2 } else { (self.place + 1) % STORY.len() };
        let Some((name, text)) = STORY.get(self.place) else { return Ok(()) };
        let mut venue = Venue::parse(name, text)?;
        for network in &mut venue.networks {
            network.plugged = true;
            network.port = port.to_owned();
        }
        self.caption(&venue.purpose);
        world.move_to(&venue)?;
        (self.pulled, self.portal) =
            (false, venue.networks.iter().any(|n| n.internet == Internet::Portal));
        Ok(())
    }

    fn print(&mut self, subject: &str, words: &str) {
        if self.unwritten == 0 {
            let line =
                format!("{:7.2}  {subject:<9} {words}\n", self.start.elapsed().as_secs_f32());
            self.unwritten = output::deliver(&line);
        }
        // Nobody reads any more, or nothing more can be written: the end.
        self.over |= self.unwritten != 0 || !output::is_open();
    }

    fn draw(&mut self, world: &World, status: Option<&Snapshot>) {
        let Some(screen) = &self.screen else { return };
        let (journal, style) = (world.journal(), Style::of_terminal());
        let lines: Vec<String> = journal.lines().map(str::to_owned).collect();
        let picture = picture::Picture {
            status,
            captions: &self.captions,
            journal: lines.get(lines.len().saturating_sub(6)..).unwrap_or_default(),
            elapsed: self.start.elapsed(),
            colour: self.colour,
            style,
            keys: &key_line(),
        };
        screen.show(&picture.lines(), style.rows);
    }

    fn report_changes(&mut self, status: &Snapshot) {
        let facts = picture::facts(status);
        let gone: Vec<String> = self
            .printed
            .keys()
            .filter(|key| !facts.iter().any(|(k, _)| k == *key))
            .cloned()
            .collect();
        for key in gone {
            self.printed.remove(&key);
            self.print(&key, "(no longer)");
        }
        for (key, words) in facts {
            if self.printed.get(&key) != Some(&words) {
                self.print(&key, &words);
                self.printed.insert(key, words);
            }
        }
    }
}

/// Who comes in by nsenter finds the daemon without `--socket`. Nothing else needs it.
fn put_socket_at_its_usual_place(world: &World) {
    let usual = Path::new(DEFAULT_SOCKET);
    if let Some(folder) = usual.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    let _ = std::os::unix::fs::symlink(world.socket(), usual);
}

/// Who ended the story early is to know that it was not the whole.
fn unreached_in_words(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("The time is over; 1 expectation was not reached yet.\n".to_owned()),
        count => Some(format!("The time is over; {count} expectations were not reached yet.\n")),
    }
}

fn toggle<'w>(state: &mut bool, on: &'w str, off: &'w str) -> &'w str {
    *state = !*state;
    if *state { on } else { off }
}

impl Observer for Show {
    fn caption(&mut self, text: &str) {
        if self.screen.is_none() {
            self.print(">>>", text);
        }
        self.captions.push(text.to_owned());
    }

    fn seen(&mut self, words: Option<&str>) {
        self.seen += 1;
        if self.screen.is_none() {
            self.print("seen", words.unwrap_or("what was expected"));
        } else if let Some(words) = words {
            self.captions.push(format!("✓ {words}"));
        }
    }

    fn missing(&mut self, words: &str) {
        self.missing = Some(words.to_owned());
        if self.screen.is_none() {
            self.print("MISSING", words);
        }
    }

    fn look(&mut self, world: &mut World, status: Option<&Snapshot>) -> bool {
        if self.screen.is_some() {
            self.draw(world, status);
        } else if let Some(status) = status {
            self.report_changes(status);
        }
        if let Some(code) = world.gateway().and_then(|gateway| gateway.ended()) {
            self.missing =
                Some(format!("the gateway ended with exit code {code}:\n{}", world.journal()));
            self.over = true;
        }
        match self.keys.try_recv().ok().and_then(deed) {
            Some(Deed::Quit) => self.over = true,
            Some(deed) => self.pressed = Some(deed),
            None => {}
        }
        self.over |= self.is_late();
        !self.over && self.pressed.is_none()
    }
}

/// Returns the gateway's program: the one that started this, or one beside this, or where it is
/// installed.
fn gateway() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|error| Error(error.to_string()))?;
    let named = std::env::var_os("BRAMBLEGATE_PROGRAM").map(PathBuf::from);
    let beside = own.parent().map(|folder| folder.join("bramblegate"));
    let installed = ["/usr/local/bin/bramblegate", "/usr/bin/bramblegate"].map(PathBuf::from);
    let mut places = named.into_iter().chain(beside).chain(installed);
    places.find(|path| path.is_file()).ok_or_else(|| {
        Error(format!(
            "there is no bramblegate beside {}: start it by `bramblegate demo`",
            own.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_line_does_what_it_reports_and_no_other_does_anything() {
        let line = key_line();
        let offered: Vec<char> =
            line.split('[').skip(1).filter_map(|words| words.chars().next()).collect();
        let deeds: Vec<Deed> = offered.iter().filter_map(|key| deed(*key)).collect();
        assert_eq!(
            deeds,
            KEYS.map(|(_, deed)| deed),
            "a key that is offered twice, or is dead: {line}"
        );
        assert_eq!((deed('a'), deed('b')), (Some(Deed::Acknowledge), Some(Deed::NextPage)));
        assert!(('\0'..='\u{7f}').filter(|key| deed(*key).is_some()).count() == offered.len() + 2);
    }

    #[test]
    fn the_first_key_undoes_what_the_story_did() {
        let mut show = Show::new(&Args { venue: None, seconds: None, plain: true });
        let text = r#"{"uplink":{"state":"portal"},"nodes":[{"name":"rpi2","health":"down"}]}"#;
        show.take_over(&serde_json::from_str(text).unwrap());
        assert_eq!((show.pulled, show.portal, show.node_down), (false, true, true));
    }

    #[test]
    fn the_story_reads_and_passes_through_three_venues() {
        for (name, text) in STORY {
            let venue = Venue::parse(name, text).unwrap();
            assert!(!venue.purpose.is_empty());
            assert!(
                venue.moments.iter().any(|moment| !moment.expects.is_empty()),
                "{name} expects nothing"
            );
        }
    }
}
