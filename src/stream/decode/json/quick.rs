//! Reads messages that are as they should be, in half the time of the parser behind [`fields`].
//!
//! It has no words for what is wrong. At the first thing that it does not expect, be it a wrong type,
//! a field that comes twice or broken JSON, it gives up, and [`fields`] reads the message from its
//! start. So it may accept only what [`fields`] accepts, with the same values: a test compares them.
//!
//! A program writes the fields of its messages in the same order again and again. So each field is
//! first compared with the one that came after its predecessor last time, and only where it is
//! another one is the name looked for.

use super::super::row::{Slot, Slots};
use super::scan::{Quoted, Scan};
use super::tree::{Node, Taker};
use super::{base64, number, surrogate};
use crate::model::column::ColumnType;
use crate::model::moment;
use std::ops::Range;

/// So many fields are remembered; a topic with more of them invents their names.
const MET_MAX: usize = 64;

/// Reads `message` along the tree below `root` into `slots`; false where it gives up.
pub fn read(root: &Node, message: &str, order: &mut Order, slots: &mut Slots) -> bool {
    order.last = 0;
    let mut reading = Reading { scan: Scan::new(message), order, slots };
    reading.object(root).is_some() && reading.scan.at_end()
}

/// In which order the fields of messages came so far.
#[derive(Debug)]
pub struct Order {
    /// The first one stands for the beginning of a message.
    met: Vec<Met>,
    /// The field that was read last.
    last: usize,
}

/// A field, taken or not.
#[derive(Debug)]
struct Met {
    /// The node of the object that it belongs to.
    within: usize,
    /// Its name, with the quotes.
    quoted: Box<str>,
    /// Its place among the taken fields of that object.
    taken: Option<usize>,
    /// What came after it last time.
    next: usize,
}

impl Default for Order {
    fn default() -> Self {
        let beginning = Met { within: usize::MAX, quoted: "".into(), taken: None, next: 0 };
        Self { met: vec![beginning], last: 0 }
    }
}

impl Order {
    /// What probably comes now.
    fn guess(&self) -> (usize, &Met) {
        let next = self.met[self.last].next;
        (next, &self.met[next])
    }

    /// Something else came.
    fn learn(&mut self, within: usize, quoted: &str, taken: Option<usize>) {
        let same = |met: &Met| met.within == within && *met.quoted == *quoted;
        let at = self.met.iter().position(same).unwrap_or(self.met.len());
        if at == MET_MAX {
            return;
        }
        if at == self.met.len() {
            self.met.push(Met { within, quoted: quoted.into(), taken, next: 0 });
        }
        self.met[self.last].next = at;
        self.last = at;
    }
}

struct Reading<'m, 's> {
    scan: Scan<'m>,
    order: &'s mut Order,
    slots: &'s mut Slots,
}

impl<'m> Reading<'m, '_> {
    /// Reads an object that holds taken fields; what it leaves over goes to the rest.
    fn object(&mut self, node: &Node) -> Option<()> {
        self.scan.take(b'{')?;
        let keeps_rest = self.slots.keeps_rest;
        if keeps_rest {
            self.slots.rest.push('{');
        }
        if self.scan.next()? != b'}' {
            loop {
                let (name, taken) = self.name(node)?;
                self.scan.take(b':')?;
                match taken {
                    Some(field) => self.field(field, name)?,
                    None if keeps_rest => {
                        let value = self.json()?;
                        self.open(name);
                        self.slots.rest.push_str(self.scan.text(value)?);
                    }
                    None => {
                        self.scan.value()?;
                    }
                }
                if self.scan.next()? == b'}' {
                    break;
                }
                self.scan.take(b',')?;
            }
        }
        if keeps_rest {
            self.slots.rest.push('}');
        }
        self.scan.take(b'}')
    }

    /// Reads the name of a field of `node`, and finds the node of one that is taken.
    fn name<'n>(&mut self, node: &'n Node) -> Option<(&'m str, Option<&'n Node>)> {
        self.scan.next()?;
        let start = self.scan.at();
        let (at, guess) = self.order.guess();
        let taken = if guess.within == node.id && self.scan.word(&guess.quoted).is_some() {
            let taken = guess.taken;
            self.order.last = at;
            taken
        } else {
            let Quoted { within, escaped: false } = self.scan.string()? else { return None };
            let taken = node.fields.place(self.scan.text(within)?);
            self.order.learn(node.id, self.scan.text(start..self.scan.at())?, taken);
            taken
        };
        let name = self.scan.text(start + 1..self.scan.at() - 1)?;
        Some((name, taken.map(|place| node.fields.at(place))))
    }

    /// Writes a key and its colon into the unfinished rest. It had no escapes, so it needs none.
    fn open(&mut self, name: &str) {
        let rest = &mut self.slots.rest;
        if !rest.ends_with('{') {
            rest.push(',');
        }
        rest.push('"');
        rest.push_str(name);
        rest.push_str("\":");
    }

    fn field(&mut self, field: &Node, name: &str) -> Option<()> {
        if !self.slots.first(field.id) {
            return None;
        }
        match (field.takers.as_slice(), field.fields.is_empty()) {
            ([taker], true) => self.column(*taker),
            ([], false) => self.nested(field, name),
            _ => None,
        }
    }

    fn nested(&mut self, field: &Node, name: &str) -> Option<()> {
        if self.scan.next()? == b'n' {
            return self.scan.word("null");
        }
        if !self.slots.keeps_rest {
            return self.object(field);
        }
        let before = self.slots.rest.len();
        self.open(name);
        let opened = self.slots.rest.len();
        self.object(field)?;
        if self.slots.rest.len() == opened + "{}".len() {
            self.slots.rest.truncate(before);
        }
        Some(())
    }

    /// Reads the value of one column into its slot.
    fn column(&mut self, taker: Taker) -> Option<()> {
        let slot = match (self.scan.next()?, taker.kind) {
            (b'n', _) => {
                self.scan.word("null")?;
                Slot::Null
            }
            (b'"', ColumnType::String) => self.string()?,
            (b'-' | b'0'..=b'9', ColumnType::Int64) => match self.scan.integer() {
                Some(value) => Slot::Int(value),
                None => self.number(taker.kind)?,
            },
            (b't', ColumnType::Bool) => {
                self.scan.word("true")?;
                Slot::Bool(true)
            }
            (b'f', ColumnType::Bool) => {
                self.scan.word("false")?;
                Slot::Bool(false)
            }
            (b'"', ColumnType::Timestamp) => Slot::Int(moment::read(self.plain()?).ok()?.0),
            (b'"', ColumnType::Date) => Slot::Int(moment::date(self.plain()?).ok()?.into()),
            (b'"', ColumnType::Bytes) => {
                let text = self.plain()?;
                let bytes = &mut self.slots.bytes;
                let start = bytes.len();
                base64::read(text, bytes).then_some(Slot::Bytes(start..bytes.len()))?
            }
            (_, ColumnType::Json) => Slot::Borrowed(self.json()?),
            (_, ColumnType::Float64 | ColumnType::Decimal(..)) => self.number(taker.kind)?,
            _ => return None,
        };
        self.slots.values[taker.slot] = slot;
        Some(())
    }

    fn number(&mut self, kind: ColumnType) -> Option<Slot> {
        let value = self.scan.value()?;
        number::slot(kind, self.scan.text(value)?).ok()
    }

    /// Any value whose strings are texts.
    fn json(&mut self) -> Option<Range<usize>> {
        let before = self.scan.numbered();
        let value = self.scan.value()?;
        let has_numbered = self.scan.numbered() > before;
        if has_numbered && surrogate::is_lone(self.scan.text(value.clone())?) {
            return None;
        }
        Some(value)
    }

    fn string(&mut self) -> Option<Slot> {
        let Quoted { within, escaped } = self.scan.string()?;
        if !escaped {
            return Some(Slot::Borrowed(within));
        }
        let quoted = self.scan.text(within.start - 1..within.end + 1)?;
        let text: String = serde_json::from_str(quoted).ok()?;
        Some(self.slots.own(&text))
    }

    /// A string without escapes.
    fn plain(&mut self) -> Option<&'m str> {
        let Quoted { within, escaped } = self.scan.string()?;
        if escaped { None } else { self.scan.text(within) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields;
    use super::super::tree::Tree;
    use super::*;
    use crate::model::column::{Column, Origin};
    use proptest::prelude::*;

    /// A column of each type, two of them deeper down; with the rest where `keeps_rest` says so.
    fn columns() -> Vec<Column> {
        let kinds = ["string", "int64", "float64", "decimal(18,2)", "bool", "timestamp", "date"];
        let kinds = kinds.into_iter().chain(["bytes", "json", "string", "int64"]);
        let paths = ["s", "i", "f", "m", "b", "t", "d", "y", "j", "o.s", "o.p.i"];
        let column = |(path, kind): (&str, &str)| Column {
            name: path.into(),
            origin: Origin::Path(path.split('.').map(str::to_owned).collect()),
            kind: kind.parse().unwrap(),
            required: false,
        };
        paths.into_iter().zip(kinds).map(column).collect()
    }

    /// Whether the quick way reads it after others; what it reads, the parser must have read too.
    fn same(message: &str, order: &mut Order, keeps_rest: bool) -> bool {
        let columns = columns();
        let tree = Tree::new(&columns);
        let slots = || {
            let mut slots = Slots::new(columns.len(), tree.nodes, keeps_rest);
            slots.begin();
            slots
        };
        let (mut quick, mut slow) = (slots(), slots());
        if !read(&tree.root, message, order, &mut quick) {
            return false;
        }
        let told = fields::read(&tree.root, message, &mut slow);
        assert!(told.is_ok(), "{told:?}: {message}");
        let facts = |slots: &Slots| {
            let Slots { values, text, bytes, rest, .. } = slots;
            (values.clone(), text.clone(), bytes.clone(), rest.clone())
        };
        assert_eq!(facts(&quick), facts(&slow), "{message}");
        true
    }

    #[test]
    fn a_message_as_it_should_be_is_not_given_up_on() {
        for message in [
            r#"{"s":"é \"x\" \u00e9","i":-12,"f":0.5,"m":"12.50","b":true,"t":"2026-11-20T05:31:07Z",
               "d":"2026-11-20","y":"aGk=","j":{"a":[1]},"o":{"s":"","p":{"i":7,"z":0}},"z":null}"#,
            r#" { "s" : null , "o" : null , "other" : [ 1.5e3 , { "x" : "\n" } ] } "#,
            "{}",
        ] {
            let mut order = Order::default();
            for keeps_rest in [true, false] {
                assert!(same(message, &mut order, keeps_rest), "{message}");
            }
        }
    }

    const VALUES: [&str; 33] = [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "-0",
        "01",
        "1.50",
        "1e2",
        "9223372036854775807",
        "99999999999999999999",
        "-9.50e1",
        "2.0",
        "[\"\\ud83d\\ude00\"]",
        "{\"\\ude00\":1}",
        "\"\"",
        "\"a\"",
        "\"\\u00e9\\n\"",
        "\"\\ud800\"",
        "\"\\x\"",
        "\"2026-11-20\"",
        "\"2026-11-20T05:31:07.5+01:00\"",
        "\"2026-13-01T00:00:00Z\"",
        "\"aGk\"",
        "\"12.5\"",
        "[]",
        "[1, {\"a\":2}]",
        "{}",
        "{\"s\":\"x\"}",
        "{\"p\":{\"i\":3,\"z\":1}}",
        "{\"s\":null,\"z\":{}}",
        "{\"p\":[]}",
        "",
    ];

    #[test]
    fn more_names_than_are_remembered_are_read_all_the_same() {
        let mut order = Order::default();
        for first in 0..3 {
            let fields: Vec<String> =
                (0..MET_MAX * 2).map(|n| format!("\"{first}-{n}\":{n}")).collect();
            assert!(same(&format!("{{{},\"i\":7}}", fields.join(",")), &mut order, true));
        }
        assert_eq!(order.met.len(), MET_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_quick_way_accepts_the_parser_reads_alike(
            fields in prop::collection::vec(
                (prop::sample::select(vec!["s", "i", "f", "m", "b", "t", "d", "y", "j", "o", "z", "\\u0073", ""]),
                 prop::sample::select(VALUES.to_vec()),
                 prop::sample::select(vec!["", " ", "\n\t"])),
                0..8,
            ),
            change in prop::option::weighted(0.4, (any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\ x0\n\x01".to_vec()))),
            keeps_rest: bool,
        ) {
            let fields: Vec<String> = fields
                .into_iter()
                .map(|(name, value, space)| format!("{space}\"{name}\"{space}:{space}{value}{space}"))
                .collect();
            let message = format!("{{{}}}", fields.join(","));
            let mut changed = message.clone();
            if let Some((place, byte)) = change {
                let place = place.index(message.len());
                changed.replace_range(place..=place, char::from(byte).encode_utf8(&mut [0; 4]));
            }
            let mut order = Order::default();
            for message in [&message, &changed, &message] {
                same(message, &mut order, keeps_rest);
            }
        }
    }
}
