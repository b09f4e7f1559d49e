//! Layers: a later one wins. Tables merge, scalars and lists replace, `[[node]]` and `[[group]]` merge by name.

use std::collections::HashMap;

use super::tree::{Item, Table, Value};

/// Puts `above` over `below`.
pub(super) fn merge(below: &mut Table, above: Table) {
    if !above.entries.is_empty() {
        below.at = above.at;
    }
    for (name, item) in above.entries {
        match below.entries.get_mut(&name) {
            Some(held) => merge_item(held, item),
            None => {
                below.entries.insert(name, item);
            }
        }
    }
}

fn merge_item(below: &mut Item, above: Item) {
    match (&mut below.value, above.value) {
        (Value::Table(held), Value::Table(table)) => merge(held, table),
        (Value::Tables(held), Value::Tables(tables)) => merge_by_name(held, tables),
        // what is wrong does not hide what was right below it
        (Value::Table(_) | Value::Tables(_), Value::Faulty) => {}
        (held, value) => {
            *held = value;
            below.at = above.at;
        }
    }
}

/// Names are host names: upper and lower case are one.
fn merge_by_name(below: &mut Vec<Table>, above: Vec<Table>) {
    let name = |table: &Table| table.text("name").map(str::to_ascii_lowercase);
    let mut places: HashMap<String, usize> =
        below.iter().enumerate().filter_map(|(index, table)| Some((name(table)?, index))).collect();
    for table in above {
        let Some(key) = name(&table) else { continue };
        match places.get(&key).and_then(|index| below.get_mut(*index)) {
            Some(held) => merge(held, table),
            None => {
                places.insert(key, below.len());
                below.push(table);
            }
        }
    }
}
