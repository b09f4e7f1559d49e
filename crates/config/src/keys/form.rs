//! Forms of values: what a key accepts, how it is checked when a file is read, and how it is
//! converted afterwards.

use std::time::Duration;

use super::Kind;
use crate::NodeProbe;
use crate::grammar;
use crate::tree::{Item, Value};

/// What a key accepts, and the conversion of a checked value.
pub(super) struct Form<T> {
    pub kind: Kind,
    /// Returns `None` for a value that was wrong.
    pub read: fn(&Item) -> Option<T>,
}

/// Declares keys in the order of the man page: `/// TEXT NAME: TYPE = "path", FORM, PRESET;`, with
/// former paths after the preset as `was "path"`. Each becomes a static, and the list has them all.
macro_rules! keys {
    ($list:ident = $(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ty = $path:literal, $form:expr, $preset:expr
            $(, was $($was:literal),+)?;
    )+) => {
        $(
            #[doc = concat!("`", $path, "`")]
            pub(crate) static $name: $crate::keys::Typed<$type> =
                $crate::keys::Typed::new(
                    $path,
                    $form,
                    $preset,
                    &[$($($was),+)?],
                    concat!($($doc),+),
                );
        )+

        /// In the order of the man page.
        pub(super) static $list: &[&$crate::keys::Key] = &[$(&$name.key),+];
    };
}

/// A value, checked and converted by `$parse`.
macro_rules! value {
    ($kind:ident, $check:ident, $get:ident, $form:expr, $parse:path) => {
        $crate::keys::form::Form {
            kind: $crate::keys::Kind::$kind(
                $form,
                $crate::keys::Check::$check(|value| $parse(value).map(drop)),
            ),
            read: |item| $parse(item.$get()?).ok(),
        }
    };
}

/// A list of values, each checked and converted by `$parse`.
macro_rules! values {
    ($check:ident, $get:ident, $form:expr, $parse:path) => {
        $crate::keys::form::Form {
            kind: $crate::keys::Kind::List {
                form: $form,
                empty: true,
                off: false,
                check: $crate::keys::Check::$check(|value| $parse(value).map(drop)),
            },
            read: |item| item.list()?.iter().map(|item| $parse(item.$get()?).ok()).collect(),
        }
    };
}

/// A text.
macro_rules! text {
    ($form:expr, $parse:path) => {
        $crate::keys::form::value!(Value, Text, text, $form, $parse)
    };
}

/// A text or an integer.
macro_rules! scalar {
    ($form:expr, $parse:path) => {
        $crate::keys::form::value!(Value, Scalar, scalar, $form, $parse)
    };
}

/// "FIRST-LAST".
macro_rules! pair {
    ($form:expr, $parse:path) => {
        $crate::keys::form::value!(Pair, Text, text, $form, $parse)
    };
}

/// A list of texts.
macro_rules! texts {
    ($form:expr, $parse:path) => {
        $crate::keys::form::values!(Text, text, $form, $parse)
    };
}

/// A list of texts and integers.
macro_rules! scalars {
    ($form:expr, $parse:path) => {
        $crate::keys::form::values!(Scalar, scalar, $form, $parse)
    };
}

/// One of these words, each with its value.
macro_rules! choice {
    ($($word:literal => $value:expr),+) => {
        $crate::keys::form::Form {
            kind: $crate::keys::Kind::Choice(&[$($word),+]),
            read: |item| match item.text()? {
                $($word => Some($value),)+
                _ => None,
            },
        }
    };
}

pub(super) use {choice, keys, pair, scalar, scalars, text, texts, value, values};

impl<T> Form<T> {
    /// Rejects an empty list.
    pub const fn not_empty(self) -> Self {
        let Kind::List { form, off, check, .. } = self.kind else { return self };
        Self { kind: Kind::List { form, empty: false, off, check }, ..self }
    }

    /// Accepts "off" as the empty list.
    pub const fn or_off(self) -> Self {
        let Kind::List { form, empty, check, .. } = self.kind else { return self };
        Self { kind: Kind::List { form, empty, off: true, check }, ..self }
    }

    /// Sets the unit of an integer.
    pub const fn of(self, of: &'static str) -> Self {
        let Kind::Integer { min, max, .. } = self.kind else { return self };
        Self { kind: Kind::Integer { min, max, of }, ..self }
    }
}

pub(super) const BOOL: Form<bool> = Form {
    kind: Kind::Bool,
    read: |item| match item.value {
        Value::Bool(truth) => Some(truth),
        _ => None,
    },
};

/// The line offset of a GPIO chip.
pub(super) const PIN: Form<u32> = integer(0, 511);

/// The probes of a node.
pub(super) const PROBES: Form<Vec<NodeProbe>> =
    texts!("\"icmp\", \"arp\", \"tcp:22\", \"http://:80/healthz\" or \"off\"", grammar::node_probe)
        .or_off();

/// Declares an integer within bounds, both inclusive.
pub(super) const fn integer<T: TryFrom<i64>>(min: i64, max: i64) -> Form<T> {
    Form {
        kind: Kind::Integer { min, max, of: "" },
        read: |item| match item.value {
            Value::Integer(number) => T::try_from(number).ok(),
            _ => None,
        },
    }
}

/// Declares a number within bounds, both inclusive.
pub(super) const fn number(min: f64, max: f64) -> Form<f32> {
    Form {
        kind: Kind::Number(min, max),
        read: |item| match item.value {
            #[allow(clippy::cast_possible_truncation)]
            Value::Number(number) => Some(number as f32),
            _ => None,
        },
    }
}

/// Declares a duration within bounds, both inclusive.
pub(super) const fn duration(min: Duration, max: Duration) -> Form<Duration> {
    Form { kind: Kind::Duration(min, max), read: |item| grammar::duration(item.text()?).ok() }
}

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) const fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) const PORT: &str =
    "a name such as \"eth1\", a glob such as \"usb*\", or \"mac:aa:bb:cc:dd:ee:ff\"";
/// A threshold in percent.
pub(super) const SHARE_OR_OFF: &str = "a share such as \"10%\", or \"off\"";
/// A threshold on the number of nodes.
pub(super) const COUNT_OR_SHARE: &str = "a count of nodes such as 3, or a share such as \"80%\"";
/// Seconds in a day.
pub(super) const DAY: u64 = 86_400;
