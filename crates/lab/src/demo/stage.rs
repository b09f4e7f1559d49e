//! Inside the namespaces: plays the story, and performs the actions of keys.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bramblegate_api::status::{NodeHealth, Snapshot, UplinkState};

use super::captions::Captions;
use super::keys::{self, Before, Deed, deed, key_line};
use super::{Args, gateway, is_plain, page, picture, words};
use crate::file::{Action, Internet, Network};
use crate::play::{Observer, Outcome, Sight, play, wait_until};
use crate::world::{Input, is_possible};
use crate::{Result, Venue, World, inside, while_doing};
use bramblegate::cli::panel::Style;
use bramblegate::cli::status::DEFAULT_SOCKET;
use bramblegate::cli::terminal::{self, Screen};
use bramblegate::cli::{demo, exit, output};

/// The story: one venue after the other.
const STORY: [(&str, &str); 4] = [
    ("home", include_str!("home.toml")),
    ("conference", include_str!("conference.toml")),
    ("hotel", include_str!("hotel.toml")),
    ("hall", include_str!("hall.toml")),
];

/// Printed when the demo has left the terminal.
const TRY_IT: &str = "Try it on your own head node: sudo bramblegate setup (see man bramblegate)\n";
/// Printed instead if the program is not installed.
const INSTALL_IT: &str = "Try it on your own head node: see \"Install\" in README.md\n";

/// Plays the story, or the venue of `--venue`.
pub fn perform(args: &Args) -> ExitCode {
    let mut show = Show::new(args);
    let result = show.run(args);
    let (missing, unreached) = (show.missing.clone(), show.unreached);
    let was_drawn = show.screen.take().is_some();
    if let (None, Some(words)) = (&missing, unreached_in_words(unreached)) {
        output::out(&words);
    }
    if was_drawn && missing.is_none() && result.is_ok() {
        output::out(if inside::is_installed() { TRY_IT } else { INSTALL_IT });
    }
    match (result, missing) {
        (Ok(()), None) => ExitCode::from(show.unwritten),
        (Ok(()), Some(missing)) => {
            output::error(
                &format!("demo: expected and not seen: {missing}"),
                "give it more time on a busy machine: run it again",
            );
            ExitCode::FAILURE
        }
        (Err(error), _) => {
            output::failure("demo", &error.to_string(), super::NEEDED);
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// The state of the demo.
struct Show {
    /// Start of the demo.
    start: Instant,
    /// Start of the current run of the story.
    began: Instant,
    end: Option<Duration>,
    /// `--loop`: the story restarts after this time without a key.
    again: Option<Duration>,
    /// When the last key was pressed, or the story ended.
    last_key: Instant,
    screen: Option<Screen>,
    big: bool,
    colour: bool,
    /// The status page's URL and the command for `attach`.
    attach: Vec<String>,
    /// Listening socket and URL of the status page for the machine's browser.
    page: Option<(OwnedFd, String)>,
    keys: Receiver<char>,
    /// A pending key.
    pressed: Option<Deed>,
    captions: Captions,
    printed: BTreeMap<String, String>,
    missing: Option<String>,
    /// Number of expectations that were met.
    seen: usize,
    /// Number of expectations that were not reached because of `--seconds`.
    unreached: usize,
    /// Exit code if standard output could not be written.
    unwritten: u8,
    over: bool,
    pulled: bool,
    node_down: bool,
    portal: bool,
    /// The acts of the story that can be played on this machine.
    story: Vec<(&'static str, Venue)>,
    place: usize,
}

impl Show {
    fn new(args: &Args) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            began: now,
            end: args.seconds.map(Duration::from_secs),
            again: args.again.map(Duration::from_secs),
            last_key: now,
            screen: (!is_plain(args)).then(Screen::open),
            big: args.big,
            colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            attach: attach_lines(),
            page: page::take(),
            keys: if is_plain(args) { std::sync::mpsc::channel().1 } else { terminal::keys() },
            pressed: None,
            captions: Captions::new(now),
            printed: BTreeMap::new(),
            missing: None,
            seen: 0,
            unreached: 0,
            unwritten: 0,
            over: false,
            pulled: false,
            node_down: false,
            portal: false,
            story: Vec::new(),
            place: 0,
        }
    }

    fn run(&mut self, args: &Args) -> Result<()> {
        let program = gateway()?;
        self.story = story()?;
        let acts = match &args.venue {
            Some(path) => vec![Venue::read(path)?],
            None => {
                self.leave_out(&program);
                self.story.iter().map(|(_, act)| act.clone()).collect()
            }
        };
        let mut world: Option<World> = None;
        loop {
            self.play_acts(&mut world, &acts, &program)?;
            let Some(world) = &mut world else { return Ok(()) };
            if self.screen.is_none() && self.missing.is_some() {
                output::err(&world.story());
                return Ok(());
            }
            if !self.over && (self.screen.is_some() || self.again.is_some()) {
                self.improvise(world, &acts)?;
            }
            if self.over || self.again.is_none() {
                return Ok(());
            }
            self.begin_again(world)?;
        }
    }

    /// Leaves out the acts that cannot be played on this machine, with a caption.
    fn leave_out(&mut self, program: &Path) {
        let Err(absent) = is_possible(program) else { return };
        let story = std::mem::take(&mut self.story);
        let (left_out, kept) = story.into_iter().partition(|(_, act)| act.clat);
        self.story = kept;
        let left_out: Vec<(_, Venue)> = left_out;
        for (_, act) in left_out {
            self.caption(&format!("One scene is left out ({}): {absent}", act.purpose));
        }
    }

    /// Plays the acts until a key is pressed.
    fn play_acts(
        &mut self,
        world: &mut Option<World>,
        acts: &[Venue],
        program: &Path,
    ) -> Result<()> {
        for (place, act) in acts.iter().enumerate() {
            self.place = place;
            self.caption(&act.purpose);
            let world = match world {
                None => {
                    let world = world.insert(build(act, program)?);
                    self.open_page(world)?;
                    world
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
            let expects =
                acts.iter().flat_map(|act| &act.moments).map(|moment| moment.expects.len());
            self.unreached = expects.sum::<usize>().saturating_sub(self.seen);
        }
        Ok(())
    }

    /// Starts the status page, where its program is installed.
    fn open_page(&mut self, world: &mut World) -> Result<()> {
        let (socket, url) = match self.page.take() {
            Some((socket, url)) => (Some(socket), Some(url)),
            None => (None, None),
        };
        if !world.start_web(socket)? {
            return Ok(());
        }
        if let Some(url) = url {
            self.attach.insert(0, format!("Status page: {url}"));
            if self.screen.is_none() {
                self.print("page", &url);
            }
        }
        Ok(())
    }

    /// Returns whether the time of `--seconds` has passed.
    fn is_late(&self) -> bool {
        self.end.is_some_and(|end| self.start.elapsed() >= end)
    }

    /// Returns whether no key was pressed for the time of `--loop`.
    fn is_idle(&self) -> bool {
        self.again.is_some_and(|again| self.last_key.elapsed() >= again)
    }

    /// Performs the actions of keys after the story, until the demo is over or idle.
    fn improvise(&mut self, world: &mut World, acts: &[Venue]) -> Result<()> {
        if let Ok(status) = world.status() {
            self.take_over(&status);
        }
        self.last_key = Instant::now();
        if self.pressed.is_none() && self.screen.is_some() {
            self.caption(if self.missing.is_some() {
                "Something expected was not seen; look around, q ends"
            } else {
                "That was the story. Now it is your turn: press a key, each is answered."
            });
        }
        while !self.over && !self.is_idle() {
            if let Some(deed) = self.pressed.take() {
                self.last_key = Instant::now();
                // An action that is impossible in this venue does not end the demo.
                if let Err(error) = self.act(world, deed, acts) {
                    self.answer(format!("✗ That cannot be done here: {error}"));
                }
            }
            std::thread::sleep(Duration::from_millis(40));
            let status = world.status().ok();
            self.look(world, status.as_ref());
        }
        Ok(())
    }

    /// Resets the demo for the next visitor.
    fn begin_again(&mut self, world: &mut World) -> Result<()> {
        world.node_up("rpi2")?;
        self.began = Instant::now();
        self.captions = Captions::new(self.began);
        self.seen = 0;
        self.missing = None;
        Ok(())
    }

    /// Adopts the state at the end of the story, so that a toggling key undoes what it did.
    fn take_over(&mut self, status: &Snapshot) {
        let state = &status.uplink.state;
        (self.pulled, self.portal) =
            (*state == UplinkState::NoCarrier, *state == UplinkState::Portal);
        self.node_down =
            status.nodes.iter().any(|node| node.name == "rpi2" && node.health == NodeHealth::Down);
    }

    /// Performs the action of a key, and waits for its effect.
    fn act(&mut self, world: &mut World, deed: Deed, acts: &[Venue]) -> Result<()> {
        let port = acts
            .first()
            .and_then(|act| act.networks.first())
            .map_or_else(|| "eth1".to_owned(), |network| network.port.clone());
        let mut before = Before::of(world, &port);
        if deed == Deed::Acknowledge && !before.alarm {
            self.answer(
                "Nothing is wrong: there is nothing to acknowledge. Try n first".to_owned(),
            );
            return Ok(());
        }
        let on = match deed {
            Deed::Cable => toggle(&mut self.pulled),
            Deed::Node => toggle(&mut self.node_down),
            Deed::Portal => toggle(&mut self.portal),
            _ => true,
        };
        if matches!(deed, Deed::Venue | Deed::Overlap) {
            before.lease = self.travel(world, deed == Deed::Overlap, &port)?;
        } else {
            self.answer(announced(deed, on).to_owned());
            change(world, deed, on, &port)?;
        }
        let proof = keys::proof(deed, on, &port, before);
        match wait_until(world, keys::PATIENCE, Duration::ZERO, &proof.unmet, self)? {
            Outcome::Seen(_) => {
                let words = (proof.words)(world);
                self.captions.add(format!("✓ {words}"), Instant::now());
            }
            Outcome::Missing(missing) => {
                let patience = keys::PATIENCE.as_secs();
                self.answer(format!("✗ Not seen within {patience} s: {missing}"));
            }
            Outcome::Left => {}
        }
        Ok(())
    }

    /// Moves to a venue of the story, with its networks on the uplink `port` of the current
    /// settings. Returns the address that the head gets there.
    fn travel(&mut self, world: &mut World, overlap: bool, port: &str) -> Result<Option<String>> {
        let hall = self.story.iter().position(|(name, _)| *name == "hall").unwrap_or_default();
        self.place = if overlap { hall } else { (self.place + 1) % self.story.len().max(1) };
        let Some((_, venue)) = self.story.get(self.place) else { return Ok(None) };
        let mut venue = venue.clone();
        for network in &mut venue.networks {
            network.plugged = true;
            network.port = port.to_owned();
        }
        self.answer(format!("You carry the cluster: {}", venue.purpose));
        world.move_to(&venue)?;
        (self.pulled, self.portal) =
            (false, venue.networks.iter().any(|n| n.internet == Internet::Portal));
        Ok(venue.networks.first().and_then(Network::head).map(|address| address.to_string()))
    }

    /// Shows a caption at once, as a reply to a key.
    fn answer(&mut self, text: String) {
        self.captions.interrupt(text, Instant::now());
    }

    fn print(&mut self, subject: &str, words: &str) {
        if self.unwritten == 0 {
            let line =
                format!("{:7.2}  {subject:<9} {words}\n", self.start.elapsed().as_secs_f32());
            self.unwritten = output::deliver(&line);
        }
        // Ends if the reader is gone or writing fails.
        self.over |= self.unwritten != 0 || !output::is_open();
    }

    fn draw(&mut self, world: &World, status: Option<&Snapshot>) {
        let Some(screen) = &self.screen else { return };
        let journal = world.journal();
        let style = Style { big: self.big, ..Style::of_terminal() };
        let lines: Vec<String> = journal.lines().map(str::to_owned).collect();
        let picture = picture::Picture {
            status,
            captions: self.captions.shown(),
            journal: lines.get(lines.len().saturating_sub(6)..).unwrap_or_default(),
            elapsed: self.began.elapsed(),
            colour: self.colour,
            style,
            keys: &key_line(),
            attach: &self.attach,
        };
        screen.show(&picture.lines(), style.rows);
    }

    fn report_changes(&mut self, status: &Snapshot) {
        let facts = words::facts(status);
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

/// Returns the acts of the story.
fn story() -> Result<Vec<(&'static str, Venue)>> {
    STORY.into_iter().map(|(name, text)| Ok((name, Venue::parse(name, text)?))).collect()
}

/// Builds the world with a private `/run` and `/etc`, and starts the gateway.
fn build(act: &Venue, program: &Path) -> Result<World> {
    inside::furnish()?;
    inside::cover_etc()?;
    let mut world = World::build_furnished(act, program)?;
    world.start_gateway()?;
    mark(&world)?;
    Ok(world)
}

/// Marks the namespaces as a demo for the commands, and links the sockets to their usual paths.
fn mark(world: &World) -> Result<()> {
    let mark = Path::new(demo::MARK);
    if let Some(folder) = mark.parent() {
        std::fs::create_dir_all(folder).map_err(while_doing(folder.display()))?;
    }
    std::fs::write(mark, "").map_err(while_doing(mark.display()))?;
    let usual = Path::new(DEFAULT_SOCKET);
    std::os::unix::fs::symlink(world.socket(), usual).map_err(while_doing(usual.display()))
}

/// Returns the number of this demo, and the command for `attach` in a second terminal.
fn attach_lines() -> Vec<String> {
    let sudo = if inside::is_of_root() { "sudo " } else { "" };
    let program = inside::shown_program();
    let number = std::env::var(super::STAGE).unwrap_or_default();
    vec![
        format!("(demo {number})"),
        format!("In a second terminal: {sudo}{program} demo attach [VERB]"),
    ]
}

/// Performs the event of a key.
fn change(world: &mut World, deed: Deed, on: bool, port: &str) -> Result<()> {
    match (deed, on) {
        (Deed::Cable, true) => world.pull_cable(port),
        (Deed::Cable, false) => world.plug_cable(port),
        (Deed::Node, true) => world.node_down("rpi2"),
        (Deed::Node, false) => world.node_up("rpi2"),
        (Deed::Flush, _) => world.foreign_flush(),
        (Deed::Forwarding, _) => world.act(&Action::ForwardingOff),
        (Deed::Portal, on) => {
            world.internet(port, if on { Internet::Portal } else { Internet::Open })?;
            world.reconnect(port)
        }
        (Deed::Renew, _) => world.renew(port),
        (Deed::Acknowledge, _) => world.press(Input::Acknowledge, Duration::ZERO),
        (Deed::NextPage, _) => world.press(Input::Next, Duration::ZERO),
        (Deed::Venue | Deed::Overlap | Deed::Quit, _) => Ok(()),
    }
}

/// Returns the caption of a key's event.
fn announced(deed: Deed, on: bool) -> &'static str {
    match (deed, on) {
        (Deed::Cable, true) => "You pull the cable",
        (Deed::Cable, false) => "You plug the cable in again",
        (Deed::Node, true) => "rpi2 dies",
        (Deed::Node, false) => "rpi2 comes back",
        (Deed::Flush, _) => "Another tool runs nft flush ruleset",
        (Deed::Forwarding, _) => "Another tool switches forwarding off",
        (Deed::Portal, true) => "The venue wants a login: a captive portal",
        (Deed::Portal, false) => "You log in: the portal opens",
        (Deed::Renew, _) => "The DHCP client asks for its lease again",
        (Deed::Acknowledge, _) => "You press the button: you know what is wrong",
        (Deed::NextPage, _) => "You press the button for the next page",
        (Deed::Venue | Deed::Overlap | Deed::Quit, _) => "",
    }
}

/// Describes the number of expectations that were not reached, if any.
fn unreached_in_words(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("The time is over; 1 expectation was not reached yet.\n".to_owned()),
        count => Some(format!("The time is over; {count} expectations were not reached yet.\n")),
    }
}

/// Describes a met expectation with the actual values, for a log.
fn sentences(sight: &Sight<'_>) -> String {
    let Sight { say, expected, found, after } = sight;
    let say = say.map(|say| format!("{say}. ")).unwrap_or_default();
    format!("{say}Expected: {expected}. Seen after {:.1} s: {found}.", after.as_secs_f32())
}

/// Inverts a state. Returns the new one.
fn toggle(state: &mut bool) -> bool {
    *state = !*state;
    *state
}

impl Observer for Show {
    fn caption(&mut self, text: &str) {
        if self.screen.is_none() {
            self.print(">>>", text);
        }
        self.captions.add(text.to_owned(), Instant::now());
    }

    fn seen(&mut self, sight: &Sight<'_>) {
        self.seen += 1;
        if self.screen.is_none() {
            self.print("seen", &sentences(sight));
        } else if let Some(words) = sight.say {
            self.captions.add(format!("✓ {words}"), Instant::now());
        }
    }

    fn missing(&mut self, words: &str) {
        self.missing = Some(words.to_owned());
        if self.screen.is_none() {
            self.print("MISSING", words);
        }
    }

    fn is_ready(&self) -> bool {
        self.screen.is_none() || self.captions.are_read(Instant::now())
    }

    fn look(&mut self, world: &mut World, status: Option<&Snapshot>) -> bool {
        self.captions.advance(Instant::now());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_undoes_what_the_story_did() {
        let mut show = Show::new(&Args { plain: true, ..Args::default() });
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
