//! One decoded message: a slot for each column, until it is known that the whole row is good.
//!
//! Arrow's builders can't take a value back, and a message may turn out bad at its last byte. So
//! values wait in slots; texts wait as ranges of the message and are copied once, into the builder.

use crate::model::column::ColumnType;
use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder,
    Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Slot {
    #[default]
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Decimal(i128),
    /// A stretch of the message itself.
    Borrowed(Range<usize>),
    /// A stretch of [`Slots::text`]: a string with escapes, or the rest.
    Owned(Range<usize>),
    /// A stretch of [`Slots::bytes`].
    Bytes(Range<usize>),
}

/// The slots of one row after the other.
#[derive(Debug, Default)]
pub struct Slots {
    pub values: Vec<Slot>,
    pub text: String,
    pub bytes: Vec<u8>,
    /// Whether anybody wants the fields that no column takes.
    pub keeps_rest: bool,
    pub rest: String,
    /// The row in which a node of the tree was last seen, by the node's id.
    seen: Vec<u64>,
    row: u64,
}

impl Slots {
    pub fn new(columns: usize, nodes: usize, keeps_rest: bool) -> Self {
        Self {
            values: vec![Slot::Null; columns],
            seen: vec![0; nodes],
            keeps_rest,
            ..Self::default()
        }
    }

    pub fn begin(&mut self) {
        self.values.fill(Slot::Null);
        self.text.clear();
        self.bytes.clear();
        self.rest.clear();
        self.row += 1;
    }

    /// Whether node `id` comes for the first time in this row.
    pub fn first(&mut self, id: usize) -> bool {
        std::mem::replace(&mut self.seen[id], self.row) != self.row
    }

    pub fn own(&mut self, text: &str) -> Slot {
        let start = self.text.len();
        self.text.push_str(text);
        Slot::Owned(start..self.text.len())
    }
}

/// The values of one column, growing by rows.
#[derive(Debug)]
pub enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Bool(BooleanBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Bytes(BinaryBuilder),
}

impl Builder {
    pub fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::String | ColumnType::Json => Self::Text(StringBuilder::new()),
            ColumnType::Int64 => Self::Int(Int64Builder::new()),
            ColumnType::Float64 => Self::Float(Float64Builder::new()),
            ColumnType::Decimal(precision, scale) => {
                Self::Decimal(Decimal128Builder::new(), precision, scale.cast_signed())
            }
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Bytes => Self::Bytes(BinaryBuilder::new()),
        }
    }

    /// Appends the value in `slot`, which the reader made for this column's type.
    pub fn append(&mut self, slot: &Slot, message: &str, slots: &Slots) {
        match (self, slot) {
            (Self::Text(to), Slot::Borrowed(at)) => to.append_value(&message[at.clone()]),
            (Self::Text(to), Slot::Owned(at)) => to.append_value(&slots.text[at.clone()]),
            (Self::Text(to), _) => to.append_null(),
            (Self::Int(to), Slot::Int(value)) => to.append_value(*value),
            (Self::Int(to), _) => to.append_null(),
            (Self::Float(to), Slot::Float(value)) => to.append_value(*value),
            (Self::Float(to), _) => to.append_null(),
            (Self::Decimal(to, ..), Slot::Decimal(value)) => to.append_value(*value),
            (Self::Decimal(to, ..), _) => to.append_null(),
            (Self::Bool(to), Slot::Bool(value)) => to.append_value(*value),
            (Self::Bool(to), _) => to.append_null(),
            (Self::Timestamp(to), Slot::Int(value)) => to.append_value(*value),
            (Self::Timestamp(to), _) => to.append_null(),
            (Self::Date(to), Slot::Int(value)) => to.append_option(i32::try_from(*value).ok()),
            (Self::Date(to), _) => to.append_null(),
            (Self::Bytes(to), Slot::Bytes(at)) => to.append_value(&slots.bytes[at.clone()]),
            (Self::Bytes(to), _) => to.append_null(),
        }
    }

    /// The column so far; the builder begins again, empty.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(from) => Arc::new(from.finish()),
            Self::Int(from) => Arc::new(from.finish()),
            Self::Float(from) => Arc::new(from.finish()),
            Self::Decimal(from, precision, scale) => {
                let values = from.finish();
                Arc::new(
                    values
                        .with_precision_and_scale(*precision, *scale)
                        .expect("a column's precision and scale were checked when it was read"),
                )
            }
            Self::Bool(from) => Arc::new(from.finish()),
            Self::Timestamp(from) => Arc::new(from.finish().with_timezone("UTC")),
            Self::Date(from) => Arc::new(from.finish()),
            Self::Bytes(from) => Arc::new(from.finish()),
        }
    }
}
