//! The columns that Kafka fills, not the payload: key, headers, where a message lies and when it came.

use super::Reject;
use super::row::{Slot, Slots};
use crate::kafka::Message;
use crate::model::column::{ColumnType, MessagePart};
use crate::model::moment::OUTSIDE_YEARS;
use crate::model::time::Micros;

/// The value of `part` for a column of type `kind`; `config` lets no other types through.
pub fn slot(
    part: &MessagePart,
    kind: ColumnType,
    message: &Message<'_>,
    slots: &mut Slots,
) -> Result<Slot, Reject> {
    let bytes = match part {
        MessagePart::Key => message.key,
        MessagePart::Header(name) => message.headers.last(name),
        MessagePart::TopicPartition => return Ok(Slot::Int(message.topic_partition.into())),
        MessagePart::Offset => return Ok(Slot::Int(message.offset)),
        MessagePart::Timestamp => return arrival(message.arrived),
    };
    let Some(bytes) = bytes else { return Ok(Slot::Null) };
    if kind == ColumnType::Bytes {
        let start = slots.bytes.len();
        slots.bytes.extend_from_slice(bytes);
        return Ok(Slot::Bytes(start..slots.bytes.len()));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|err| Reject::new(format!("{part}: invalid UTF-8"), err.to_string()))?;
    Ok(slots.own(text))
}

/// A producer may have written any number.
fn arrival(arrived: Option<Micros>) -> Result<Slot, Reject> {
    match arrived {
        None => Ok(Slot::Null),
        Some(at) if at.is_in_calendar() => Ok(Slot::Int(at.0)),
        Some(at) => {
            let reason = format!("{}: {OUTSIDE_YEARS}", MessagePart::Timestamp);
            Err(Reject::new(reason, format!("found {} microseconds since 1970", at.0)))
        }
    }
}
