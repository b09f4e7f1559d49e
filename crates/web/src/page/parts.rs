//! The parts of a page, which are compared and sent separately.

use std::collections::HashMap;
use std::sync::Arc;

use bramblegate_api::Text;
use bramblegate_api::status::Node;
use maud::Markup;

/// The part that holds the elements of all nodes.
pub const NODES: &str = "nodes";

/// What a node's element shows: elements with equal keys are equal.
pub(super) type Key = Node;

/// The parts of one page.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The content of elements by id, in the order of the page.
    fixed: Vec<(Arc<str>, Arc<str>)>,
    nodes: Vec<Element>,
    /// The index in `nodes` by name.
    places: HashMap<Text, usize>,
    /// Describes the arrangement of the nodes; equal for equal layouts.
    pub layout: Arc<str>,
}

#[derive(Debug, Clone)]
struct Element {
    key: Key,
    html: Arc<str>,
}

impl Parts {
    pub(super) fn put(&mut self, id: &str, html: Markup) {
        self.fixed.push((id.into(), html.into_string().into()));
    }

    /// Adds a node's element, from `old` if its key is equal, or else from `draw`.
    pub(super) fn put_node(&mut self, key: Key, old: &Self, draw: impl FnOnce(&Key) -> Markup) {
        let same = old.element(&key.name).filter(|element| element.key == key);
        let html = same
            .map_or_else(|| draw(&key).into_string().into(), |element| Arc::clone(&element.html));
        self.places.insert(key.name.clone(), self.nodes.len());
        self.nodes.push(Element { key, html });
    }

    fn element(&self, name: &str) -> Option<&Element> {
        self.nodes.get(*self.places.get(name)?)
    }

    /// Returns the content of the element `id`.
    pub fn get(&self, id: &str) -> Option<&str> {
        self.fixed.iter().find(|(known, _)| **known == *id).map(|(_, html)| &**html)
    }

    /// Returns (id, content) of all elements but those of single nodes.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fixed.iter().map(|(id, html)| (&**id, &**html))
    }

    /// Returns (name, element) of the nodes that have an element of their own.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.nodes.iter().map(|element| (&*element.key.name, &*element.html))
    }

    /// Returns a node's element.
    pub fn node(&self, name: &str) -> Option<&str> {
        self.element(name).map(|element| &*element.html)
    }
}
