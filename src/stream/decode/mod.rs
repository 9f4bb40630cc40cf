//! Makes rows of messages: bytes in, straight into Arrow builders.
//!
//! A folder for each format reads payloads into slots; what is beside the payload, what is required and how
//! slots become rows is the same for all.
//!
//! A message becomes a row or a [`Reject`], never a panic and never half a row: values wait in
//! slots until the message has been read to its end.

mod beside;
mod json;
mod row;

#[cfg(test)]
mod tests;

use crate::kafka::Message;
use crate::model::column::{Column, ColumnType, MessagePart, Origin};
use arrow::array::ArrayRef;
use row::{Builder, Slot, Slots};
use std::fmt;

/// Why a message is not a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// One of few, to count by: `length.old: expected int64`.
    pub reason: String,
    /// What was found in this message; may be empty.
    pub detail: String,
}

impl Reject {
    pub fn new(reason: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason: reason.into(), detail: detail.into() }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => f.write_str(&self.reason),
            detail => write!(f, "{}, {detail}", self.reason),
        }
    }
}

/// Reads messages; its rows are the columns that come from fields, the rest, and what is beside them.
#[derive(Debug)]
pub struct Decoder {
    payloads: json::Reader,
    slots: Slots,
    /// Slots that must not stay empty, with what they are called.
    required: Vec<(usize, String)>,
    rest: Vec<usize>,
    beside: Vec<(usize, MessagePart, ColumnType)>,
}

/// A message that is a row.
#[derive(Debug)]
pub struct Row<'a> {
    message: &'a str,
    slots: &'a Slots,
}

/// The rows of some messages, column by column.
#[derive(Debug)]
pub struct Rows(Vec<Builder>);

/// The columns that a message itself fills, in the table's order.
pub fn decoded(columns: &[Column]) -> impl Iterator<Item = &Column> {
    columns.iter().filter(|column| !matches!(column.origin, Origin::Sql(_)))
}

impl Decoder {
    pub fn new(columns: &[Column]) -> Self {
        let columns: Vec<&Column> = decoded(columns).collect();
        let payloads = json::Reader::new(columns.iter().copied());
        let of = |wanted: fn(&Column) -> bool| {
            let slots = columns.iter().enumerate().filter(move |(_, column)| wanted(column));
            slots.map(|(slot, column)| (slot, called(column)))
        };
        let rest: Vec<usize> =
            of(|column| column.origin == Origin::Rest).map(|(slot, _)| slot).collect();
        let beside = columns.iter().enumerate().filter_map(|(slot, column)| match &column.origin {
            Origin::Message(part) => Some((slot, part.clone(), column.kind)),
            Origin::Path(_) | Origin::Sql(_) | Origin::Rest => None,
        });
        let beside = beside.collect();
        let required = of(|column| column.required).collect();
        let slots = Slots::new(columns.len(), payloads.nodes(), !rest.is_empty());
        Self { payloads, slots, required, rest, beside }
    }

    /// Reads one message, whose payload is `payload`.
    pub fn decode<'a>(
        &'a mut self,
        payload: &'a [u8],
        message: &Message<'_>,
    ) -> Result<Row<'a>, Reject> {
        if payload.is_empty() {
            return Err(Reject::new("the message is empty", ""));
        }
        let slots = &mut self.slots;
        let text = self.payloads.read(payload, slots)?;
        for (slot, part, kind) in &self.beside {
            slots.values[*slot] = beside::slot(part, *kind, message, slots)?;
        }
        for &slot in &self.rest {
            let rest = std::mem::take(&mut slots.rest);
            slots.values[slot] = slots.own(&rest);
            slots.rest = rest;
        }
        for (slot, name) in &self.required {
            if slots.values[*slot] == Slot::Null {
                return Err(Reject::new(format!("{name}: required, and it is not there"), ""));
            }
        }
        Ok(Row { message: text, slots })
    }
}

/// What errors call a column: the path of its field or the part of the message, where it has one.
pub fn called(column: &Column) -> String {
    match &column.origin {
        Origin::Path(path) => path.join("."),
        Origin::Message(part) => part.to_string(),
        Origin::Sql(_) | Origin::Rest => column.name.clone(),
    }
}

impl Row<'_> {
    /// The value of a timestamp column, by its place among the decoded columns.
    pub fn micros(&self, slot: usize) -> Option<i64> {
        match self.slots.values[slot] {
            Slot::Int(value) => Some(value),
            _ => None,
        }
    }
}

impl Rows {
    pub fn new(columns: &[Column]) -> Self {
        Self(decoded(columns).map(|column| Builder::new(column.kind)).collect())
    }

    pub fn push(&mut self, row: &Row<'_>) {
        for (builder, slot) in self.0.iter_mut().zip(&row.slots.values) {
            builder.append(slot, row.message, row.slots);
        }
    }

    /// The rows so far, and begins again without any.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.0.iter_mut().map(Builder::finish).collect()
    }
}
