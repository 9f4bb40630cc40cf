//! JSON payloads: one object a message.
//!
//! [`quick`] reads what is as it should be, [`fields`] everything else, and it has the words for what is
//! wrong.

mod base64;
mod fields;
mod number;
mod quick;
mod scan;
mod surrogate;
mod tree;

#[cfg(test)]
mod oracle_tests;

use super::Reject;
use super::row::Slots;
use crate::model::column::Column;
use tree::Tree;

/// Reads payloads along the tree of the fields that columns take.
#[derive(Debug)]
pub struct Reader {
    tree: Tree,
    /// `None` where these columns are more than [`quick`] can read.
    quick: Option<quick::Order>,
}

impl Reader {
    /// Fills slot `i` for the `i`-th of `columns`.
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Self {
        let tree = Tree::new(columns);
        Self { quick: tree.root.is_simple().then(quick::Order::default), tree }
    }

    /// How many fields it tells apart.
    pub fn nodes(&self) -> usize {
        self.tree.nodes
    }

    /// Reads one payload, and returns the text that borrowed slots are stretches of.
    pub fn read<'p>(&mut self, payload: &'p [u8], slots: &mut Slots) -> Result<&'p str, Reject> {
        let text = std::str::from_utf8(payload)
            .map_err(|err| Reject::new("invalid UTF-8", err.to_string()))?;
        let root = &self.tree.root;
        slots.begin();
        if !self.quick.as_mut().is_some_and(|order| quick::read(root, text, order, slots)) {
            slots.begin();
            fields::read(root, text, slots)?;
        }
        Ok(text)
    }
}
