//! Merges layers; the later one wins. Tables merge; scalars and lists are replaced. `[[node]]`,
//! `[[group]]` and `[[share]]` merge by name, `[[forward]]` by the port that it listens on.

use std::collections::HashMap;

use super::keys;
use super::tree::{Item, Table, Value};

/// Merges `above` into `below`; `above` wins.
pub(super) fn merge(below: &mut Table, above: Table) {
    if !above.entries.is_empty() {
        below.at = above.at;
    }
    below.is_incomplete |= above.is_incomplete;
    for (name, item) in above.entries {
        match below.entries.get_mut(&name) {
            Some(held) => merge_item(keys::identity_key(&name).unwrap_or("name"), held, item),
            None => {
                below.entries.insert(name, item);
            }
        }
    }
}

fn merge_item(key: &str, below: &mut Item, above: Item) {
    match (&mut below.value, above.value) {
        (Value::Table(held), Value::Table(table)) => merge(held, table),
        (Value::Tables(held), Value::Tables(tables)) => merge_by(key, held, tables),
        // A faulty value does not hide a valid one below it.
        (Value::Table(held), Value::Faulty) => held.is_incomplete = true,
        (Value::Tables(_), Value::Faulty) => {}
        (held, value) => {
            *held = value;
            below.at = above.at;
        }
    }
}

/// Merges tables with the same value of `key`.
pub(super) fn merge_by(key: &str, below: &mut Vec<Table>, above: Vec<Table>) {
    let mut places: HashMap<String, usize> = below
        .iter()
        .enumerate()
        .filter_map(|(index, table)| Some((table.identity(key)?, index)))
        .collect();
    for table in above {
        let Some(identity) = table.identity(key) else { continue };
        match places.get(&identity).and_then(|index| below.get_mut(*index)) {
            Some(held) => merge(held, table),
            None => {
                places.insert(identity, below.len());
                below.push(table);
            }
        }
    }
}
