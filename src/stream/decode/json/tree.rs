//! Which fields of a message are taken, as a tree that follows their nesting.

use crate::model::column::{Column, ColumnType, Origin};

/// A field that columns come from, or that holds such fields; the root is the message itself.
#[derive(Debug, Default)]
pub struct Node {
    /// `length.old`, as errors call it.
    pub path: String,
    /// Tells the nodes of a tree apart: `0..Tree::nodes`.
    pub id: usize,
    /// The columns that take the whole value.
    pub takers: Vec<Taker>,
    pub fields: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    pub slot: usize,
    pub kind: ColumnType,
}

/// The fields below a node, found by name.
#[derive(Debug, Default)]
pub struct Fields {
    nodes: Vec<(Box<str>, Node)>,
    /// Open addressing, at most half full: a place in `nodes` plus one, 0 for none.
    table: Vec<u32>,
}

#[derive(Debug)]
pub struct Tree {
    pub root: Node,
    pub nodes: usize,
}

impl Tree {
    /// The tree of those columns that come from fields; slot `i` is the `i`-th of `columns`.
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Self {
        let mut tree = Self { root: Node::default(), nodes: 1 };
        for (slot, column) in columns.into_iter().enumerate() {
            let Origin::Path(path) = &column.origin else { continue };
            let mut node = &mut tree.root;
            for name in path {
                node = node.field(name, &mut tree.nodes);
            }
            node.takers.push(Taker { slot, kind: column.kind });
        }
        tree.root.index();
        tree
    }
}

impl Node {
    /// What errors call the field of that name.
    pub fn path_of(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    fn field(&mut self, name: &str, nodes: &mut usize) -> &mut Self {
        let known = self.fields.nodes.iter().position(|(known, _)| **known == *name);
        let at = known.unwrap_or_else(|| {
            let path = self.path_of(name);
            let node = Self { path, id: *nodes, ..Self::default() };
            *nodes += 1;
            self.fields.nodes.push((name.into(), node));
            self.fields.nodes.len() - 1
        });
        &mut self.fields.nodes[at].1
    }

    /// Whether every field below fills one column or holds other fields, and none does both.
    pub fn is_simple(&self) -> bool {
        let uses = self.takers.len() + usize::from(!self.fields.is_empty());
        uses <= 1 && self.fields.nodes.iter().all(|(_, node)| node.is_simple())
    }

    fn index(&mut self) {
        let fields = &mut self.fields;
        fields.table = vec![0; (fields.nodes.len() * 2).next_power_of_two()];
        for (at, (name, node)) in fields.nodes.iter_mut().enumerate() {
            let mut place = hash(name.as_bytes()) & (fields.table.len() - 1);
            while fields.table[place] != 0 {
                place = (place + 1) & (fields.table.len() - 1);
            }
            fields.table[place] = u32::try_from(at + 1).unwrap_or(u32::MAX);
            node.index();
        }
    }
}

impl Fields {
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&Node> {
        self.place(name).map(|place| self.at(place))
    }

    /// The node at a [`Self::place`].
    pub fn at(&self, place: usize) -> &Node {
        &self.nodes[place].1
    }

    pub fn place(&self, name: &str) -> Option<usize> {
        let mask = self.table.len() - 1;
        let mut place = hash(name.as_bytes()) & mask;
        loop {
            let at = (self.table[place] as usize).checked_sub(1)?;
            if *self.nodes[at].0 == *name {
                return Some(at);
            }
            place = (place + 1) & mask;
        }
    }
}

/// Names of fields differ in length and at their ends; reading more would cost more than it saves.
fn hash(name: &[u8]) -> usize {
    let (first, last) = (name.first().copied(), name.last().copied());
    let middle = name.get(name.len() / 2).copied();
    let byte = |byte: Option<u8>| usize::from(byte.unwrap_or(0));
    name.len() ^ (byte(first) << 1) ^ (byte(last) << 3) ^ (byte(middle) << 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(path: &str) -> Column {
        let path = path.split('.').map(str::to_owned).collect();
        let kind = ColumnType::String;
        Column { name: "c".into(), origin: Origin::Path(path), kind, required: false }
    }

    #[test]
    fn every_field_is_found_by_its_name_and_no_other() {
        let names: Vec<String> =
            (0..300).map(|n| format!("f{n}")).chain(["a".into(), "z".into()]).collect();
        let columns: Vec<Column> = names.iter().map(|name| column(name)).collect();
        let tree = Tree::new(&columns);
        for (slot, name) in names.iter().enumerate() {
            assert_eq!(tree.root.fields.get(name).unwrap().takers[0].slot, slot);
        }
        for name in ["", "f", "f300", "F1", "f1 "] {
            assert!(tree.root.fields.get(name).is_none(), "{name}");
        }
    }

    #[test]
    fn columns_of_one_object_share_its_node() {
        let tree = Tree::new(&[column("length.old"), column("length.new"), column("length")]);
        let length = tree.root.fields.get("length").unwrap();
        assert_eq!((tree.nodes, length.takers.len()), (4, 1));
        assert_eq!(length.fields.get("new").unwrap().path, "length.new");
    }

    #[test]
    fn a_topic_of_computed_columns_alone_takes_nothing() {
        assert!(Tree::new(&[]).root.fields.get("x").is_none());
    }
}
