//! `docs/status.schema.json` matches the types.

use std::borrow::Cow;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema as JsonSchemaOf, SchemaGenerator, json_schema};
use serde_json::Value;

use super::super::Line;
use crate::{SCHEMA, Schema, Text, Word};

const TITLE: &str = "A line of bramblegate's status socket";
const ABOUT: &str = "One JSON object per line: first a snapshot, then changes, at most ten a second. Unknown or inapplicable \
                     values are null; in a snapshot no key is missing. New keys and values may be added without a new schema \
                     number: readers ignore what they do not know.";

impl JsonSchema for Schema {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "schema".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "const": SCHEMA })
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({ "type": "string" })
    }
}

/// The daemon writes only listed values; unknown ones are for readers to tolerate.
impl<T: JsonSchema> JsonSchema for Word<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> JsonSchemaOf {
        T::json_schema(generator)
    }
}

fn generated() -> String {
    let settings =
        SchemaSettings::draft2020_12().for_serialize().with_transform(RecursiveTransform(tidy));
    let mut schema = settings.into_generator().into_root_schema_for::<Line>();
    schema.insert("$id".to_owned(), "https://bramblegate.example/status.schema.json".into());
    schema.insert("title".to_owned(), TITLE.into());
    schema.insert("description".to_owned(), ABOUT.into());
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        *definitions = std::mem::take(definitions)
            .into_iter()
            .map(|(name, value)| (in_kebab(&name), value))
            .collect();
    }
    format!("{:#}\n", schema.as_value())
}

/// Removes what is specific to Rust: sizes of integers, defaults of the reader, names of types.
fn tidy(schema: &mut JsonSchemaOf) {
    schema.remove("format");
    schema.remove("default");
    if let Some(Value::String(about)) = schema.get_mut("description") {
        *about = about.replace('\n', " ");
    }
    if let Some(Value::String(reference)) = schema.get_mut("$ref") {
        let name = reference.trim_start_matches("#/$defs/");
        *reference = format!("#/$defs/{}", in_kebab(name));
    }
}

/// `UplinkState` → `uplink-state`.
fn in_kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

/// `UPDATE=1 cargo test -p bramblegate-api` writes the file.
#[test]
fn the_shipped_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/status.schema.json");
    let wanted = generated();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap();
    assert!(
        shipped == wanted,
        "docs/status.schema.json differs from the types; UPDATE=1 writes this:\n{wanted}"
    );
}
