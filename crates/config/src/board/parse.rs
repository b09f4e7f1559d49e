//! Parses a board's TOML file strictly: an unknown key is an error.

use toml_span::de_helpers::TableHelper;
use toml_span::value::Value;
use toml_span::{DeserError, Deserialize, Error, ErrorKind, Span};

use super::{Board, BoardError, BoardGpio, BoardLcd, BoardLed, BoardPorts};
use crate::GpioPins;
use crate::fault::{Fault, ValueError};
use crate::lines::Lines;
use crate::syntax;
use bramblegate_panel::{Charset, Geometry, Wiring};

struct File {
    description: String,
    compatible: Vec<String>,
    lcd: BoardLcd,
    gpio: Option<BoardGpio>,
    led: BoardLed,
    ports: BoardPorts,
}

impl Board {
    /// Returns a board from the text of its file.
    ///
    /// # Errors
    /// [`BoardError::Invalid`] with every fault found.
    pub fn parse(name: &str, text: &str) -> Result<Self, BoardError> {
        let file = toml_span::parse(text)
            .map_err(DeserError::from)
            .and_then(|mut value| File::deserialize(&mut value))
            .map_err(|errors| invalid_board(name, text, &errors))?;
        let File { description, compatible, lcd, gpio, led, ports } = file;
        Ok(Self { name: name.to_owned(), description, compatible, lcd, gpio, led, ports })
    }
}

fn invalid_board(name: &str, text: &str, errors: &DeserError) -> BoardError {
    let lines = Lines::new(text);
    let found = errors.errors.iter().flat_map(|error| value_errors(error, &lines));
    let faults = found.map(|(offset, ValueError { message, remedy })| {
        let (line, column) = lines.position(offset);
        Fault { file: format!("{name}.toml"), line, column, message, remedy }
    });
    BoardError::Invalid { name: name.to_owned(), faults: faults.collect() }
}

/// Converts one error of the parser into messages with remedies, each with its offset.
fn value_errors(error: &Error, lines: &Lines<'_>) -> Vec<(usize, ValueError)> {
    let at = error.span.start;
    match &error.kind {
        ErrorKind::UnexpectedKeys { keys, expected } => {
            let remedy = format!("known are {}", expected.join(", "));
            let unknown = |(key, span): &(String, Span)| {
                (span.start, ValueError::new(format!("unknown key {key:?}"), remedy.as_str()))
            };
            keys.iter().map(unknown).collect()
        }
        ErrorKind::Custom(text) => {
            let (message, remedy) = text.split_once(SEPARATOR).unwrap_or((text, INCOMPLETE));
            vec![(at, ValueError::new(message, remedy))]
        }
        ErrorKind::MissingField(key) => {
            vec![(at, ValueError::new(format!("\"{key}\" is missing"), INCOMPLETE))]
        }
        ErrorKind::Wanted { expected, found } => {
            let message = format!("this is of the type {found}");
            vec![(at, ValueError::new(message, format!("the type has to be: {expected}")))]
        }
        _ => vec![syntax::value_error(error, lines)],
    }
}

/// Separates message and remedy in the one text that the parser keeps for an error.
const SEPARATOR: char = '\n';
const INCOMPLETE: &str = "add it, as the boards that are shipped have it";

/// Records an error and its remedy; returns `None` in place of the value.
fn report<T>(table: &mut TableHelper<'_>, span: Span, message: &str, remedy: &str) -> Option<T> {
    let kind = ErrorKind::Custom(format!("{message}{SEPARATOR}{remedy}").into());
    table.errors.push(Error { kind, span, line_info: None });
    None
}

fn custom_error(span: Span, message: String) -> DeserError {
    DeserError::from(Error { kind: ErrorKind::Custom(message.into()), span, line_info: None })
}

/// Finishes a table: returns the value, or all errors of the table.
fn finish<T>(table: TableHelper<'_>, value: Option<T>) -> Result<T, DeserError> {
    table.finalize(None)?;
    value.ok_or_else(|| custom_error(Span::default(), "incomplete".to_owned()))
}

impl<'de> Deserialize<'de> for File {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let mut table = TableHelper::new(value)?;
        let description = table.required("description");
        let compatible = table.required("compatible");
        let lcd = table.required("lcd");
        let gpio = table.optional("gpio");
        let led = table.required("led");
        let ports = table.optional("ports").unwrap_or_default();
        let file = (|| {
            Some(Self {
                description: description.ok()?,
                compatible: compatible.ok()?,
                lcd: lcd.ok()?,
                gpio,
                led: led.ok()?,
                ports,
            })
        })();
        finish(table, file)
    }
}

impl<'de> Deserialize<'de> for BoardLcd {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let mut table = TableHelper::new(value)?;
        let bus = table.required::<String>("bus");
        let address = table.required_s::<u8>("address");
        let wiring_name = table.required_s::<String>("wiring");
        let size = table.required_s::<String>("size");
        let charset = table.required_s::<String>("charset");
        let address = address.ok().and_then(|address| match address.value {
            0x20..=0x27 | 0x38..=0x3f => Some(address.value),
            other => report(
                &mut table,
                address.span,
                &format!("{other:#04x} is not an expander's address"),
                "write 0x20 to 0x27 or 0x38 to 0x3f",
            ),
        });
        let wiring = wiring_name.ok().and_then(|name| match Wiring::named(&name.value) {
            Some(_) => Some(name.value),
            None => report(
                &mut table,
                name.span,
                &format!("unknown wiring {:?}", name.value),
                &format!("known are {}", Wiring::names().collect::<Vec<_>>().join(", ")),
            ),
        });
        let size = size.ok().and_then(|size| match size.value.parse::<Geometry>() {
            Ok(geometry) => Some(geometry),
            Err(()) => report(
                &mut table,
                size.span,
                &format!("{:?} is not the size of a display", size.value),
                "write columns x rows, such as \"16x2\" or \"20x4\"",
            ),
        });
        let charset = charset.ok().and_then(|charset| match charset.value.as_str() {
            "A00" => Some(Charset::A00),
            "A02" => Some(Charset::A02),
            other => report(
                &mut table,
                charset.span,
                &format!("unknown charset {other:?}"),
                "known are A00, A02",
            ),
        });
        let lcd = (|| {
            Some(Self {
                bus: bus.ok()?,
                address: address?,
                wiring: wiring?,
                size: size?,
                charset: charset?,
            })
        })();
        finish(table, lcd)
    }
}

impl<'de> Deserialize<'de> for BoardGpio {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let mut table = TableHelper::new(value)?;
        let chip = table.required("chip");
        let pins = table.required("pins");
        let gpio = (|| Some(Self { chip: chip.ok()?, pins: pins.ok()? }))();
        finish(table, gpio)
    }
}

impl<'de> Deserialize<'de> for GpioPins {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let mut table = TableHelper::new(value)?;
        let mut pin = |name| table.required::<u32>(name).ok();
        let (rs, e, d4, d5, d6, d7) =
            (pin("rs"), pin("e"), pin("d4"), pin("d5"), pin("d6"), pin("d7"));
        let backlight = table.optional("backlight");
        let pins =
            (|| Some(Self { rs: rs?, e: e?, d4: d4?, d5: d5?, d6: d6?, d7: d7?, backlight }))();
        finish(table, pins)
    }
}

impl<'de> Deserialize<'de> for BoardLed {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let mut table = TableHelper::new(value)?;
        let device = table.required("device");
        let kernel = table.optional("kernel");
        let led = device.ok().map(|device| Self { device, kernel });
        finish(table, led)
    }
}

impl<'de> Deserialize<'de> for BoardPorts {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let mut table = TableHelper::new(value)?;
        let cluster = table.optional("cluster").unwrap_or_default();
        let uplinks = table.optional("uplinks").unwrap_or_default();
        finish(table, Some(Self { cluster, uplinks }))
    }
}
