//! The output of verbs on a head without settings, and for users who are not root.

use std::process::Output;

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{must, within};
use bramblegate_lab::{Error, Result};

use super::scene::{PLAIN, STOP, before_start, ensure, online};

/// Runs the program in the head; returns exit code, output, errors.
fn verb(words: &str) -> Result<(i32, String, String)> {
    let mut command = within("head", &crate::program().to_string_lossy());
    command
        .env("RUNTIME_DIRECTORY", format!("{HOME}/run"))
        .env("STATE_DIRECTORY", format!("{HOME}/state"));
    let output = command
        .args(words.split(' '))
        .output()
        .map_err(|error| Error(format!("{words}: {error}")))?;
    Ok(reported(&output))
}

/// Returns exit code, output and errors.
pub fn reported(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

pub fn machine_is_looked_at_before_there_are_settings() -> Result<()> {
    before_start(PLAIN, |_| {
        let (code, report, _) = verb("doctor -c /nonexistent/bramblegate.toml")?;
        let none =
            "finding  host-settings: not set up yet: there is no /nonexistent/bramblegate.toml";
        ensure(
            &format!("that there are none is reported first: {report}"),
            report.starts_with(none) && code >= 1,
        )?;
        ensure(
            &format!("with its remedy: {report}"),
            report.contains("remedy: sudo bramblegate setup"),
        )?;
        let checks =
            report.lines().last().and_then(|line| line.split(' ').next()?.parse::<usize>().ok());
        ensure(
            &format!("and the other checks are made: {report}"),
            checks.is_some_and(|checks| checks > 10),
        )?;
        let (code, _, error) = verb("check -c /nonexistent/bramblegate.toml")?;
        let in_words = error.contains("no such file\n    help: create one")
            && error.contains("`bramblegate detect")
            && !error.contains("os error");
        ensure(&format!("errors have words: {error}"), code == 78 && in_words)?;
        let (code, _, error) = verb("detect --try 0x27 --bus /dev/i2c-nonexistent")?;
        ensure(
            &format!("nobody is told to watch: {error}"),
            code == 69 && error.starts_with("error: detect --try: there is no /dev/i2c-"),
        )
    })
}

pub fn off_is_roots_and_takes_no_slip_of_the_finger() -> Result<()> {
    online(PLAIN, |world| {
        world.stop_gateway("TERM", STOP)?;
        let (code, _, error) = verb("off -c /nonexistent/bramblegate.toml")?;
        ensure(
            &format!("a file that is not there is reported: {error}"),
            code == 78 && error.contains("/nonexistent/"),
        )?;
        // The build folder may be inaccessible to the user.
        let copy = format!("{HOME}/bramblegate");
        std::fs::copy(crate::program(), &copy).map_err(|error| Error(error.to_string()))?;
        must("head", &format!("chmod 0755 {HOME} {copy}"))?;
        let mut stranger = within("head", "setpriv");
        stranger.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", &copy, "off"]);
        let (code, _, error) =
            reported(&stranger.output().map_err(|error| Error(error.to_string()))?);
        ensure(
            &format!("what to do stands there: {error}"),
            code == 77 && error.contains("sudo bramblegate off"),
        )?;
        let (code, logged, _) = verb("off")?;
        ensure(
            &format!("root may: {logged}"),
            code == 0 && logged.contains("nothing of Bramblegate's is left"),
        )
    })
}

pub fn panel_and_frame_are_what_the_display_holds() -> Result<()> {
    online(PLAIN, |world| {
        let (code, picture, error) =
            verb(&format!("panel --once --socket {}", world.socket().display()))?;
        ensure(&format!("a picture: {error}"), code == 0 && picture.lines().count() > 4)?;
        ensure(&format!("with the LED in words: {picture}"), picture.contains("breathe"))?;
        let (code, frame, _) = verb(&format!("print frame -c {HOME}/bramblegate.toml"))?;
        ensure(
            &format!("a healthy head masquerades: {frame}"),
            code == 0 && frame.contains("NAT on"),
        )?;
        ensure("nothing shows otherwise", !frame.contains("NAT off"))?;
        world.stop_gateway("TERM", STOP)?;
        let (code, _, error) =
            verb(&format!("panel --once --socket {}", world.socket().display()))?;
        ensure(
            &format!("without a daemon it says so: {code} {error}"),
            code == 3 && error.contains("help: start the daemon with"),
        )
    })
}
