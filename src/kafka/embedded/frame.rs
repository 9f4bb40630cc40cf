//! How a message lies on disk: length, checksum, body.
//!
//! A frame has no offset: it is the segment's first offset plus the frame's place in it, so a
//! producer can encode before it knows where its messages will stand.

use crate::kafka::{Mark, Outgoing};
use crate::model::time::Micros;

/// Length and CRC-32 of the body, both little-endian.
pub const HEADER_BYTES: usize = 8;
/// Far above any event, far below what a damaged length could make a reader allocate.
pub const BODY_BYTES_MAX: usize = 16 << 20;
const ARRIVED_BYTES: usize = 8;

const HAS_KEY: u8 = 1;
const HAS_PAYLOAD: u8 = 2;
/// A mark with an event time.
const HAS_AT: u8 = 4;
/// A mark that tells a number of topic partitions.
const HAS_SPREAD: u8 = 8;

/// A message as it was read, borrowed from the buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    pub arrived: Micros,
    pub key: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
    pub mark: Option<Mark>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole frame and how many bytes it takes.
    Frame(Stored<'a>, usize),
    /// The frame needs this many bytes; there are fewer.
    Short(usize),
    /// Not what was written.
    Damaged,
}

/// How long the body of this message is.
pub fn body_bytes(message: &Outgoing<'_>) -> usize {
    let mark = message.mark.unwrap_or_default();
    let mark = mark.at.map_or(0, |_| 8) + mark.topic_partitions.map_or(0, |_| 4);
    let key = message.key.map_or(0, |key| 4 + key.len());
    ARRIVED_BYTES + 1 + mark + key + message.payload.map_or(0, <[u8]>::len)
}

/// Appends a frame; the caller has checked [`body_bytes`] against [`BODY_BYTES_MAX`].
pub fn encode(into: &mut Vec<u8>, arrived: Micros, message: &Outgoing<'_>) {
    let start = into.len();
    into.extend_from_slice(&[0; HEADER_BYTES]);
    into.extend_from_slice(&arrived.0.to_le_bytes());
    let mark = message.mark.unwrap_or_default();
    let flag = |bit: u8, set: bool| if set { bit } else { 0 };
    into.push(
        flag(HAS_KEY, message.key.is_some())
            | flag(HAS_PAYLOAD, message.payload.is_some())
            | flag(HAS_AT, mark.at.is_some())
            | flag(HAS_SPREAD, mark.topic_partitions.is_some()),
    );
    if let Some(at) = mark.at {
        into.extend_from_slice(&at.0.to_le_bytes());
    }
    if let Some(topic_partitions) = mark.topic_partitions {
        into.extend_from_slice(&topic_partitions.to_le_bytes());
    }
    if let Some(key) = message.key {
        into.extend_from_slice(&length(key.len()).to_le_bytes());
        into.extend_from_slice(key);
    }
    into.extend_from_slice(message.payload.unwrap_or_default());
    let body = start + HEADER_BYTES;
    let crc = crc32fast::hash(&into[body..]);
    let bytes = length(into.len() - body);
    into[start..start + 4].copy_from_slice(&bytes.to_le_bytes());
    into[start + 4..body].copy_from_slice(&crc.to_le_bytes());
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("bounded by BODY_BYTES_MAX")
}

pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Decoded::Short(HEADER_BYTES);
    };
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let crc = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    if !(ARRIVED_BYTES + 1..=BODY_BYTES_MAX).contains(&length) {
        return Decoded::Damaged;
    }
    let Some(body) = rest.get(..length) else {
        return Decoded::Short(HEADER_BYTES + length);
    };
    if crc32fast::hash(body) != crc {
        return Decoded::Damaged;
    }
    match parse(body) {
        Some(stored) => Decoded::Frame(stored, HEADER_BYTES + length),
        None => Decoded::Damaged,
    }
}

fn parse(body: &[u8]) -> Option<Stored<'_>> {
    let (arrived, rest) = body.split_first_chunk::<8>()?;
    let (flags, mut rest) = rest.split_first()?;
    let mut mark = Mark::default();
    if flags & HAS_AT != 0 {
        let (at, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        mark.at = Some(Micros(i64::from_le_bytes(*at)));
    }
    if flags & HAS_SPREAD != 0 {
        let (topic_partitions, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        mark.topic_partitions = Some(u32::from_le_bytes(*topic_partitions));
    }
    let mark = (mark != Mark::default()).then_some(mark);
    let key = if flags & HAS_KEY == 0 {
        None
    } else {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (key, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        Some(key)
    };
    let payload = (flags & HAS_PAYLOAD != 0).then_some(rest);
    Some(Stored { arrived: Micros(i64::from_le_bytes(*arrived)), key, payload, mark })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Outgoing<'static> {
        Outgoing { key: Some(b"k"), payload: Some(b"{}"), ..Outgoing::default() }
    }

    fn framed(message: &Outgoing<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, Micros(7), message);
        assert_eq!(bytes.len(), HEADER_BYTES + body_bytes(message));
        bytes
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let marks = [(Some(Micros(9)), None), (None, Some(6)), (Some(Micros(-9)), Some(1))];
        let marks = marks.map(|(at, topic_partitions)| Outgoing {
            mark: Some(Mark { at, topic_partitions }),
            ..Outgoing::default()
        });
        let empty = Outgoing { payload: Some(b""), key: Some(b""), ..Outgoing::default() };
        for message in [message(), empty, Outgoing::default()].into_iter().chain(marks) {
            let bytes = framed(&message);
            let stored = Stored {
                arrived: Micros(7),
                key: message.key,
                payload: message.payload,
                mark: message.mark,
            };
            assert_eq!(decode(&bytes), Decoded::Frame(stored, bytes.len()));
        }
    }

    #[test]
    fn a_cut_frame_says_how_long_it_is() {
        let bytes = framed(&message());
        for cut in HEADER_BYTES..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Decoded::Short(bytes.len()));
        }
        assert_eq!(decode(&bytes[..3]), Decoded::Short(HEADER_BYTES));
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        for bit in 0..framed(&message()).len() * 8 {
            let mut bytes = framed(&message());
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A longer length looks like a cut frame, never like a message.
            assert!(!matches!(decode(&bytes), Decoded::Frame(..)), "bit {bit}");
        }
    }

    #[test]
    fn a_tail_of_zeros_is_damaged() {
        assert_eq!(decode(&[0; 64]), Decoded::Damaged);
    }
}
