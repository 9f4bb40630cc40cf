//! The embedded topic log as a [`Producer`]: sends are gathered, written and synced together.

use super::ends::{End, EndsFile};
use super::{Topic, disk, frame, retention, segments};
use crate::clock::Clock;
use crate::error::{Doing, Error, ErrorKind};
use crate::kafka::{Outgoing, Producer};
use crate::model::time::Micros;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;
use tracing::info;

/// More than this is written and synced before another message is taken.
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// A topic is kept in about this many segments a topic partition, so that deleting whole ones
/// comes close to the limit.
const SEGMENTS_KEPT: u64 = 8;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
const RETENTION_EVERY: Duration = Duration::from_mins(1);

pub struct Writer {
    topic: Topic,
    lock: File,
    ends_file: EndsFile,
    queues: Vec<Queue>,
    queued_bytes: usize,
    clock: Clock,
    /// When the newest message arrived: arrivals never go back, even if the clock does.
    arrived: Micros,
    keep_bytes: u64,
    segment_bytes: u64,
    /// When retention was looked at last.
    retained: Option<Micros>,
    broken: bool,
}

/// What one topic partition has been sent and not yet written.
#[derive(Default)]
struct Queue {
    frames: Vec<u8>,
    messages: i64,
    active: Option<Active>,
}

/// The segment that is being written.
struct Active {
    base: i64,
    file: File,
    first_arrived: Option<Micros>,
}

impl Writer {
    /// Keeps at most about `keep_bytes` of the topic.
    pub fn open(topic: Topic, keep_bytes: u64, clock: Clock) -> Result<Self, Error> {
        let (ends_file, ends) = topic.ends()?;
        let lock = topic.lock()?;
        let queues = ends.iter().map(|_| Queue::default()).collect();
        let segment_bytes = segment_bytes(keep_bytes, topic.partitions());
        Ok(Self {
            topic,
            lock,
            ends_file,
            queues,
            queued_bytes: 0,
            clock,
            arrived: ends.iter().map(|end| end.arrived).max().unwrap_or_default(),
            keep_bytes,
            segment_bytes,
            retained: None,
            broken: false,
        })
    }

    /// Takes note of topic partitions that were added.
    fn refresh(&mut self) -> Result<(), Error> {
        self.topic.refresh()?;
        let partitions = self.topic.partitions();
        self.queues.resize_with(partitions as usize, Queue::default);
        self.ends_file.grow(partitions);
        self.segment_bytes = segment_bytes(self.keep_bytes, partitions);
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), Error> {
        if self.broken {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("an earlier write to topic {} did not end well", self.topic.name),
            ));
        }
        self.lock.lock().map_err(disk)?;
        let written = self.append().doing(|| format!("append to topic {}", self.topic.name));
        // What was half-written is cut or kept by any process that looks next; it must not be sent twice.
        self.broken = written.is_err();
        self.lock.unlock().map_err(disk)?;
        written
    }

    /// Under the lock: writes, syncs, and only then moves the ends that readers look at.
    fn append(&mut self) -> Result<(), Error> {
        self.refresh()?;
        let mut ends = self.topic.sound_ends(&mut self.ends_file)?;
        let before = ends.clone();
        let now = Micros::from(self.clock.now());
        let mut rolled = false;
        for (topic_partition, (queue, end)) in
            (0..).zip(self.queues.iter_mut().zip(ends.iter_mut()))
        {
            if !queue.frames.is_empty() {
                let folder = self.topic.partition_folder(topic_partition);
                let active = queue.active.take().filter(|active| active.base == end.base);
                let active = match active {
                    Some(active) => active,
                    None => open_active(&folder, end.base)?,
                };
                let full = end.position >= self.segment_bytes;
                let active = if full || active.is_old(now, self.topic.retention()) {
                    rolled = true;
                    *end = End { base: end.offset, position: 0, ..*end };
                    segments::create(&folder, end.base)?;
                    open_active(&folder, end.base)?
                } else {
                    active
                };
                queue.write(active, end, self.arrived).inspect_err(|_| {
                    // Best effort: it spares the next writer's recovery a decision about them.
                    cut(&folder, &before[topic_partition as usize]);
                })?;
            }
        }
        for queue in self.queues.iter().filter(|queue| !queue.frames.is_empty()) {
            if let Some(active) = &queue.active {
                active.file.sync_data().map_err(disk)?;
            }
        }
        self.ends_file.write(&ends)?;
        if rolled {
            // An old file of ends is enough to find what follows in its segment, not in the next.
            self.ends_file.sync()?;
        }
        for queue in &mut self.queues {
            queue.frames.clear();
            queue.messages = 0;
        }
        self.queued_bytes = 0;
        let steady = Micros::from(self.clock.steady());
        if rolled || self.retained.is_none_or(|last| steady.since(last) >= RETENTION_EVERY) {
            self.retained = Some(steady);
            self.delete_expired(&ends, now)?;
        }
        Ok(())
    }

    fn delete_expired(&self, ends: &[End], now: Micros) -> Result<(), Error> {
        let mut closed = Vec::new();
        let mut active_bytes = 0;
        for (topic_partition, end) in (0..).zip(ends) {
            let folder = self.topic.partition_folder(topic_partition);
            active_bytes += end.position;
            let bases = segments::bases(&folder)?;
            for pair in bases.windows(2) {
                let bytes = fs::metadata(segments::path(&folder, pair[0])).map_err(disk)?.len();
                let next = segments::open(&folder, pair[1]).map_err(disk)?;
                if let Some(arrived_before) = segments::first_arrived(&next)? {
                    let base = pair[0];
                    closed.push(retention::Segment {
                        topic_partition,
                        base,
                        bytes,
                        arrived_before,
                    });
                }
            }
        }
        let retention = self.topic.retention();
        let expired = retention::expired(closed, active_bytes, now, retention, self.keep_bytes);
        for segment in &expired {
            let folder = self.topic.partition_folder(segment.topic_partition);
            fs::remove_file(segments::path(&folder, segment.base)).map_err(disk)?;
        }
        if !expired.is_empty() {
            let bytes: u64 = expired.iter().map(|segment| segment.bytes).sum();
            info!(segments = expired.len(), bytes, "topic {} let old ones go", self.topic.name);
        }
        Ok(())
    }
}

impl Queue {
    fn write(&mut self, mut active: Active, end: &mut End, arrived: Micros) -> Result<(), Error> {
        active.file.write_all_at(&self.frames, end.position).map_err(disk)?;
        if active.first_arrived.is_none() {
            active.first_arrived = segments::first_arrived(&active.file)?;
        }
        end.position += self.frames.len() as u64;
        end.offset += self.messages;
        end.arrived = end.arrived.max(arrived);
        self.active = Some(active);
        Ok(())
    }
}

impl Active {
    /// So old that, were it not being written, a part of it would soon be past retention.
    fn is_old(&self, now: Micros, retention: Duration) -> bool {
        let share = retention / u32::try_from(SEGMENTS_KEPT).expect("small");
        self.first_arrived.is_some_and(|first| now.since(first) > share)
    }
}

fn segment_bytes(keep_bytes: u64, partitions: u32) -> u64 {
    let share = keep_bytes / u64::from(partitions) / SEGMENTS_KEPT;
    share.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
}

fn open_active(folder: &std::path::Path, base: i64) -> Result<Active, Error> {
    let file = segments::open(folder, base).map_err(disk)?;
    let first_arrived = segments::first_arrived(&file)?;
    Ok(Active { base, file, first_arrived })
}

fn cut(folder: &std::path::Path, end: &End) {
    if let Ok(file) = segments::open(folder, end.base) {
        let _ = file.set_len(end.position);
    }
}

impl Producer for Writer {
    fn send(&mut self, message: Outgoing<'_>) -> Result<(), Error> {
        let bytes = frame::body_bytes(&message);
        if bytes > frame::BODY_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::Data,
                format!("a message of {bytes} bytes; at most {} fit", frame::BODY_BYTES_MAX),
            ));
        }
        self.arrived = self.arrived.max(Micros::from(self.clock.now()));
        let queue = self.queues.get_mut(message.topic_partition as usize).ok_or_else(|| {
            Error::new(
                ErrorKind::Bug,
                format!("there is no topic partition {}", message.topic_partition),
            )
        })?;
        frame::encode(&mut queue.frames, self.arrived, &message);
        queue.messages += 1;
        self.queued_bytes += frame::HEADER_BYTES + bytes;
        if self.queued_bytes >= QUEUE_BYTES_MAX { self.write_out() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.queued_bytes == 0 && !self.broken { Ok(()) } else { self.write_out() }
    }

    fn settle(&mut self) -> Result<(), Error> {
        Ok(()) // What is written is read by the next process.
    }

    fn look(&mut self) -> Result<(), Error> {
        self.refresh()
    }

    fn partitions(&self) -> u32 {
        self.topic.partitions()
    }
}
