//! USB devices for the system test: a BlinkStick, an I2C adapter with an LCD, and buttons on a GPIO
//! chip. They are plugged into the kernel's virtual host controller (`vhci_hcd`) and controlled
//! over a socket.
//!
//!     usbsim serve SOCKET            plug nothing yet, wait for commands
//!     usbsim ask SOCKET COMMAND…     send one command, print the answer
//!
//! Commands: `plug DEVICE` and `unplug DEVICE` (`stick`, `lcd` or `buttons`), `stick`, `stick
//! history`, `lcd`, `lcd history`, `lcd watch FILE`, `lcd off`, `lcd on`, `press LINE`, `release
//! LINE`.

mod blinkstick;
mod buttons;
mod hid;
mod i2c_adapter;
mod lcd;
mod usbip;

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, fs, io, thread};

use blinkstick::BlinkStick;
use buttons::Buttons;
use i2c_adapter::I2cAdapter;
use usbip::Device;

/// A port of the virtual hub: the plugged device, and the cable to pull.
struct Port<D> {
    plugged: Option<(Arc<Mutex<D>>, UnixStream)>,
}

impl<D: Device + 'static> Port<D> {
    const EMPTY: Self = Self { plugged: None };

    fn plug(&mut self, device: D) -> io::Result<String> {
        self.unplug();
        let link = usbip::attach(device.speed())?;
        let cable = link.try_clone()?;
        let device = Arc::new(Mutex::new(device));
        let served = Arc::clone(&device);
        thread::spawn(move || {
            let answer = |setup, data: &[u8]| {
                served.lock().unwrap_or_else(PoisonError::into_inner).control(setup, data)
            };
            if let Err(error) = usbip::serve(&link, answer) {
                eprintln!("usbsim: {error}");
            }
        });
        self.plugged = Some((device, cable));
        Ok("plugged".to_owned())
    }

    fn unplug(&mut self) -> String {
        match self.plugged.take() {
            Some((_, cable)) => {
                // Fails, harmlessly, if the other end is gone already.
                let _ = cable.shutdown(Shutdown::Both);
                "unplugged".to_owned()
            }
            None => "was not plugged in".to_owned(),
        }
    }

    fn with(&self, look: impl FnOnce(&mut D) -> String) -> io::Result<String> {
        let (device, _) =
            self.plugged.as_ref().ok_or_else(|| io::Error::other("not plugged in"))?;
        Ok(look(&mut device.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

struct Hub {
    stick: Port<BlinkStick>,
    lcd: Port<I2cAdapter>,
    buttons: Port<Buttons>,
}

impl Hub {
    fn obey(&mut self, command: &str) -> io::Result<String> {
        match command.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["plug", "stick"] => self.stick.plug(BlinkStick::new(3, 0x200)),
            ["plug", "lcd"] => self.lcd.plug(I2cAdapter::new()),
            ["plug", "buttons"] => self.buttons.plug(Buttons::new()),
            ["unplug", "stick"] => Ok(self.stick.unplug()),
            ["unplug", "lcd"] => Ok(self.lcd.unplug()),
            ["unplug", "buttons"] => Ok(self.buttons.unplug()),
            [word @ ("press" | "release"), line] => {
                let line = line.parse().map_err(io::Error::other)?;
                self.buttons.with(|buttons| match buttons.press(line, *word == "press") {
                    Some(()) => (*word).to_owned(),
                    None => "error: there is no such line".to_owned(),
                })
            }
            ["stick"] => self.stick.with(|stick| stick.state()),
            ["stick", "history"] => self.stick.with(|stick| stick.history()),
            ["lcd"] => self.lcd.with(|adapter| adapter.lcd.state()),
            ["lcd", "history"] => self.lcd.with(|adapter| adapter.lcd.history()),
            ["lcd", "watch", path] => {
                let file = fs::OpenOptions::new().append(true).create(true).open(path)?;
                self.lcd.with(|adapter| {
                    adapter.lcd.watch(file);
                    "watching".to_owned()
                })
            }
            ["lcd", word @ ("on" | "off")] => self.lcd.with(|adapter| {
                adapter.set_present(*word == "on");
                (*word).to_owned()
            }),
            _ => Err(io::Error::other(format!("unknown command: {command}"))),
        }
    }
}

fn serve(path: &str) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    let mut hub = Hub { stick: Port::EMPTY, lcd: Port::EMPTY, buttons: Port::EMPTY };
    for stream in listener.incoming() {
        let stream = stream?;
        let mut command = String::new();
        BufReader::new(&stream).read_line(&mut command)?;
        let answer = hub.obey(&command).unwrap_or_else(|error| format!("error: {error}"));
        // Fails, harmlessly, if the client is gone.
        let _ = writeln!(&stream, "{}", answer.trim_end());
    }
    Ok(())
}

fn ask(path: &str, command: &str) -> io::Result<ExitCode> {
    let mut stream = UnixStream::connect(path)?;
    writeln!(stream, "{command}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    print!("{answer}");
    Ok(if answer.starts_with("error:") { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", path] => serve(path).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        ["ask", path, command @ ..] => ask(path, &command.join(" ")).map_err(Into::into),
        _ => Err("usage: usbsim serve SOCKET | usbsim ask SOCKET COMMAND...".into()),
    }
}
