//! Checks one value of a file against its key: type, bounds, syntax.

use std::time::Duration;

use toml_span::value::{Value as TomlValue, ValueInner};

use super::fault::ValueError;
use super::grammar;
use super::keys::{Check, Key, Kind, Preset};
use super::print::quote;
use super::tree::{Scalar, Value};

/// Converts a single value for the tree. Arrays are read element by element: see [`elements`].
pub(super) fn single(key: &Key, value: &ValueInner<'_>) -> Result<Value, ValueError> {
    match (&key.kind, value) {
        (Kind::Bool, ValueInner::Boolean(truth)) => Ok(Value::Bool(*truth)),
        (Kind::Integer { min, max, .. }, ValueInner::Integer(number)) => {
            if (min..=max).contains(&number) {
                return Ok(Value::Integer(*number));
            }
            Err(out_of_bounds(key, number))
        }
        (Kind::Number(min, max), ValueInner::Float(number)) => float(key, *number, *min, *max),
        #[allow(clippy::cast_precision_loss)]
        (Kind::Number(min, max), ValueInner::Integer(number)) => {
            float(key, *number as f64, *min, *max)
        }
        (Kind::Duration(min, max), ValueInner::String(text)) => {
            let remedy = || format!("write {}", duration_words(key, *min, *max));
            let duration = grammar::duration(text)
                .map_err(|error| ValueError::new(error.message, remedy()))?;
            if (*min..=*max).contains(&duration) {
                return Ok(Value::Text(text.to_string()));
            }
            let what = if duration < *min { "short" } else { "long" };
            Err(ValueError::new(format!("{text:?} is too {what}"), remedy()))
        }
        (Kind::Choice(choices), ValueInner::String(text)) => {
            if choices.contains(&text.as_ref()) {
                return Ok(Value::Text(text.to_string()));
            }
            Err(ValueError::new(
                format!("{text:?} is not known"),
                format!("write {}", key.kind.words()),
            ))
        }
        (Kind::Value(_, check) | Kind::Pair(_, check), ValueInner::String(text)) => {
            check.text(text).map(|()| Value::Text(text.to_string()))
        }
        (Kind::Pair(_, check), ValueInner::Array(ends)) => pair(key, check, ends),
        (Kind::Value(_, Check::Scalar(check)), ValueInner::Integer(number)) => {
            check(Scalar::Integer(*number)).map(|()| Value::Integer(*number))
        }
        (_, other) => Err(wrong_type(key, other)),
    }
}

/// Returns the elements of an array, or a single value as an array of one; `None` if it is neither.
pub(super) fn elements<'t, 'a>(key: &Key, value: &'t TomlValue<'a>) -> Option<&'t [TomlValue<'a>]> {
    let Kind::List { off, check, .. } = &key.kind else { return None };
    match (value.as_ref(), check) {
        (ValueInner::Array(elements), _) => Some(elements),
        (ValueInner::String(text), _) if *off && text == "off" => Some(&[]),
        (ValueInner::String(_), _) | (ValueInner::Integer(_), Check::Scalar(_)) => {
            Some(std::slice::from_ref(value))
        }
        _ => None,
    }
}

/// Returns an element of an array, and its error if it has one.
pub(super) fn element(
    form: &str,
    check: &Check,
    value: &ValueInner<'_>,
) -> (Value, Result<(), ValueError>) {
    match (value, check) {
        (ValueInner::String(text), _) => (Value::Text(text.to_string()), check.text(text)),
        (ValueInner::Integer(number), Check::Scalar(check)) => {
            (Value::Integer(*number), check(Scalar::Integer(*number)))
        }
        (other, _) => {
            let message = format!("{} in the array", with_article(other.type_str()));
            (Value::Faulty, Err(ValueError::new(message, format!("write {form}"))))
        }
    }
}

/// Joins an array of two ends to "FIRST-LAST".
fn pair(key: &Key, check: &Check, ends: &[TomlValue<'_>]) -> Result<Value, ValueError> {
    let [first, last] = ends else {
        let message = format!("the array has {} elements", ends.len());
        return Err(ValueError::new(message, format!("write {}", key.kind.words())));
    };
    let (Some(first), Some(last)) = (end_text(first), end_text(last)) else {
        let message = "the array holds more than strings and integers";
        return Err(ValueError::new(message, format!("write {}", key.kind.words())));
    };
    let joined = format!("{first}-{last}");
    check.text(&joined).map(|()| Value::Text(joined))
}

/// Returns an end of a range as text.
fn end_text(end: &TomlValue<'_>) -> Option<String> {
    match end.as_ref() {
        ValueInner::String(text) => Some(text.to_string()),
        ValueInner::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn float(key: &Key, number: f64, min: f64, max: f64) -> Result<Value, ValueError> {
    if (min..=max).contains(&number) {
        return Ok(Value::Number(number));
    }
    Err(out_of_bounds(key, &number))
}

fn out_of_bounds(key: &Key, number: &dyn std::fmt::Display) -> ValueError {
    let message = format!("{number} is out of bounds");
    ValueError::new(message, format!("write {}", key.kind.words()))
}

/// Returns the error for a value of the wrong type, with its remedy.
pub(super) fn wrong_type(key: &Key, found: &ValueInner<'_>) -> ValueError {
    let remedy = match (&key.kind, found) {
        (Kind::Duration(min, max), ValueInner::Integer(number)) => {
            return ValueError::new(
                format!("{number} has no unit"),
                with_unit(key, *number, *min, *max),
            );
        }
        (Kind::Duration(min, max), _) => duration_words(key, *min, *max),
        (Kind::Bool, ValueInner::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => "true, without quotes".to_owned(),
            "false" | "no" | "off" => "false, without quotes".to_owned(),
            _ => key.kind.words(),
        },
        (Kind::Integer { min, max, .. }, ValueInner::String(text)) => {
            let meant = text.trim().parse::<i64>().ok().filter(|n| (min..=max).contains(&n));
            meant.map_or_else(|| key.kind.words(), |number| format!("{number}, without quotes"))
        }
        (Kind::Number(min, max), ValueInner::String(text)) => {
            let meant = text.trim().parse::<f64>().ok().filter(|n| (min..=max).contains(&n));
            meant.map_or_else(|| key.kind.words(), |number| format!("{number:?}, without quotes"))
        }
        (kind, _) => kind.words(),
    };
    ValueError::new(
        format!("this is {}", with_article(found.type_str())),
        format!("write {remedy}"),
    )
}

/// Returns the remedy for a bare number: the number with the default's unit, if it is within the
/// bounds.
fn with_unit(key: &Key, number: i64, min: Duration, max: Duration) -> String {
    // 300 for a key whose default is "300ms" means milliseconds.
    let default = default(key).unwrap_or("1s");
    let unit = default.trim_matches('"').trim_start_matches(|c: char| c.is_ascii_digit());
    let meant = format!("{number}{unit}");
    match grammar::duration(&meant) {
        Ok(duration) if (min..=max).contains(&duration) => {
            format!("write the duration with its unit in quotes, such as {}", quote(&meant))
        }
        _ => format!("write {}", duration_words(key, min, max)),
    }
}

/// Returns the form and the bounds of a duration, with an example within them.
fn duration_words(key: &Key, min: Duration, max: Duration) -> String {
    let usual = Duration::from_secs(1);
    let within = if (min..=max).contains(&usual) { usual } else { min };
    let example =
        default(key).map_or_else(|| grammar::show_duration(within), |text| text.replace('"', ""));
    format!("{}, such as \"{example}\"", key.kind.words())
}

fn default(key: &Key) -> Option<&'static str> {
    match key.default {
        Preset::Toml(text) | Preset::WithTable(text) => Some(text),
        _ => None,
    }
}

/// Returns a TOML type with its article.
pub(super) fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}
