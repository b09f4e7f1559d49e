//! The shipped schema, and the subset of JSON Schema that it uses. Stricter than a reader should
//! be: a key that is missing in the schema is an error, so that the schema stays complete.

use serde_json::Value;

pub struct Schema(Value);

impl Schema {
    pub fn shipped() -> Self {
        Self(
            serde_json::from_str(include_str!("../../../../../../docs/status.schema.json"))
                .unwrap(),
        )
    }

    /// Returns the property names of a definition.
    pub fn keys(&self, definition: &str) -> Vec<String> {
        self.0["$defs"][definition]["properties"].as_object().unwrap().keys().cloned().collect()
    }

    /// Returns where and why `value` violates the schema.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        self.at("line", &self.0, value)
    }

    fn at(&self, path: &str, schema: &Value, value: &Value) -> Result<(), String> {
        for (keyword, wanted) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "$ref" => {
                    let name = wanted.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.at(path, &self.0["$defs"][name], value)?;
                }
                "oneOf" => self.choices(path, wanted, value, true)?,
                "anyOf" => self.choices(path, wanted, value, false)?,
                "type" => has_type(path, wanted, value)?,
                "const" if value != wanted => return Err(format!("{path}: not {wanted}")),
                "enum" if !wanted.as_array().unwrap().contains(value) => {
                    return Err(format!("{path}: {value} is none of {wanted}"));
                }
                "required" if value.is_object() => {
                    let missing = wanted
                        .as_array()
                        .unwrap()
                        .iter()
                        .find(|key| value.get(key.as_str().unwrap()).is_none());
                    missing.map_or(Ok(()), |key| Err(format!("{path}: {key} is missing")))?;
                }
                "properties" if value.is_object() => {
                    for (key, inner) in value.as_object().unwrap() {
                        let known = wanted
                            .get(key)
                            .ok_or_else(|| format!("{path}: the schema has no {key}"))?;
                        self.at(&format!("{path}.{key}"), known, inner)?;
                    }
                }
                "items" if value.is_array() => {
                    for (place, inner) in value.as_array().unwrap().iter().enumerate() {
                        self.at(&format!("{path}[{place}]"), wanted, inner)?;
                    }
                }
                "minimum" if value.is_number() && value.as_f64() < wanted.as_f64() => {
                    return Err(format!("{path}: {value} is less than {wanted}"));
                }
                "maximum" if value.is_number() && value.as_f64() > wanted.as_f64() => {
                    return Err(format!("{path}: {value} is more than {wanted}"));
                }
                "$schema" | "$id" | "$defs" | "title" | "description" | "const" | "enum"
                | "required" | "properties" | "items" | "minimum" | "maximum" => {}
                other => return Err(format!("{path}: this check does not know {other:?}")),
            }
        }
        Ok(())
    }

    /// Checks that one of the choices fits, or at least one.
    fn choices(
        &self,
        path: &str,
        choices: &Value,
        value: &Value,
        only_one: bool,
    ) -> Result<(), String> {
        let results: Vec<_> =
            choices.as_array().unwrap().iter().map(|choice| self.at(path, choice, value)).collect();
        match results.iter().filter(|result| result.is_ok()).count() {
            0 => Err(results.into_iter().filter_map(Result::err).collect::<Vec<_>>().join(" / ")),
            2.. if only_one => Err(format!("{path}: more than one choice fits")),
            _ => Ok(()),
        }
    }
}

fn has_type(path: &str, wanted: &Value, value: &Value) -> Result<(), String> {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = match wanted {
        Value::String(one) => one == kind,
        several => several.as_array().unwrap().iter().any(|one| one == kind),
    };
    if fits { Ok(()) } else { Err(format!("{path}: {kind} is not {wanted}")) }
}

#[test]
fn the_check_finds_faults() {
    let schema = Schema::shipped();
    let faults = [
        (r#"{"schema":1,"type":"change","seq":1,"severity":"bad"}"#, "none of"),
        (r#"{"schema":1,"type":"change"}"#, "missing"),
        (r#"{"schema":2,"type":"change","seq":1}"#, "not 1"),
        (r#"{"schema":1,"type":"change","seq":1,"mood":"good"}"#, "has no mood"),
        (r#"{"schema":1,"type":"change","seq":1.5}"#, "number is not \"integer\""),
        (r#"{"schema":1,"type":"change","seq":-1}"#, "less than"),
        (r#"{"schema":1,"type":"change","seq":1,"nodes":[{"name":"a"}]}"#, "missing"),
    ];
    for (text, wanted) in faults {
        let fault = schema.check(&serde_json::from_str(text).unwrap()).unwrap_err();
        assert!(fault.contains(wanted), "{fault}");
    }
    schema
        .check(&serde_json::from_str(r#"{"schema":1,"type":"change","seq":1}"#).unwrap())
        .unwrap();
}
