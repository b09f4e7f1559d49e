//! Sorting and filling, with one copy of the sort for all types: the standard library's has 4 kB for each type and each order, and
//! lists are short here. Pure.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use litemap::LiteMap;

/// From the least to the greatest; equal ones stay in their order.
pub fn ascending<T: Ord>(items: &mut [T]) {
    by(items, T::cmp);
}

/// By what `key` makes of each; equal ones stay in their order.
pub fn by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    by(items, |a, b| key(a).cmp(&key(b)));
}

/// As `compare` says; equal ones stay in their order.
pub fn by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let places = sorted(items.len(), &|a, b| {
        let pair = items.get(a).zip(items.get(b));
        pair.map_or(Ordering::Equal, |(a, b)| compare(a, b))
    });
    rearrange(places, &mut |a, b| items.swap(a, b));
}

/// A set of them. `collect` would sort them first, with a sort of its own for each type.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for item in items {
        set.insert(item);
    }
    set
}

/// A map of them; of several with one key the last is in it. Not by `collect` for the reason that [`set`] has.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> LiteMap<K, V> {
    let mut map = LiteMap::new();
    for (key, value) in entries {
        map.insert(key, value);
    }
    map
}

/// Which item comes to each place.
fn sorted(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|a, b| compare(*a, *b));
    places
}

/// Brings each item to its place, along the circles in which they move up.
fn rearrange(mut places: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    for start in 0..places.len() {
        let mut at = start;
        while let Some(place) = places.get_mut(at) {
            let next = std::mem::replace(place, at);
            if next == start {
                break;
            }
            swap(at, next);
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_standard_library_does(items in proptest::collection::vec((0_u8..9, any::<u16>()), 0..200)) {
            let sorted = |sort: fn(&mut [(u8, u16)])| {
                let mut items = items.clone();
                sort(&mut items);
                items
            };
            prop_assert_eq!(sorted(ascending), sorted(|items| items.sort()));
            prop_assert_eq!(sorted(|items| by_key(items, |item| item.0)), sorted(|items| items.sort_by_key(|item| item.0)));
            prop_assert_eq!(
                sorted(|items| by(items, |a, b| b.0.cmp(&a.0))),
                sorted(|items| items.sort_by_key(|item| std::cmp::Reverse(item.0)))
            );
        }
    }
}
