//! Made-up Wikimedia changes in the shape that the live stream was measured to have.
//!
//! 22,415 live events of August 2026 gave the shares: types, bots, wikis, absent fields, sizes, and
//! 1.28 % of `meta.dt` out of order, never by a second or more. Event `number` is a function of the
//! seed and its number, so a feed that was killed goes on with exactly the events it had left.

mod dice;
mod timeline;
mod words;

use super::{Event, Next, Source};
use crate::error::Error;
use crate::model::job::Simulate;
use crate::model::time::{EventTime, Micros};
use dice::Dice;
use std::fmt::Write as _;
use timeline::Timeline;
use words::{COMMENTS, LOGS, WIKIS, WORDS, Wiki};

/// 1 event in 5,000 is broken, in one of four ways, so that quarantine has something to show. The
/// live stream has none.
const BROKEN_SHARE: u64 = 2;
/// In 10,000: measured.
const OUT_OF_ORDER_SHARE: u64 = 128;
const BOT_SHARE: u64 = 4100;
/// Nothing is dated this far before an event that was sent earlier.
const OUT_OF_ORDER_MAX: i64 = 1_000_000;
const HOUR: i64 = 3_600_000_000;

/// The events of one simulation.
#[derive(Clone, Debug)]
pub struct Model {
    seed: u64,
    timeline: Timeline,
}

/// The events of a simulation from one on, as a source.
#[derive(Clone, Debug)]
pub struct Simulation {
    model: Model,
    next: u64,
}

impl Simulation {
    /// Begins with event `next`.
    pub fn new(model: Model, next: u64) -> Self {
        Self { model, next }
    }
}

impl Source for Simulation {
    fn read(&mut self, event: &mut Event) -> Result<Next, Error> {
        if self.model.total().is_some_and(|total| self.next >= total) {
            return Ok(Next::End);
        }
        let mut text = String::from_utf8(std::mem::take(&mut event.payload)).unwrap_or_default();
        event.at = Some(self.model.write(self.next, &mut text));
        event.number = self.next;
        event.payload = text.into_bytes();
        self.next += 1;
        Ok(Next::Event)
    }

    fn promise_before(&self, number: u64) -> Option<EventTime> {
        Some(self.model.promise(number))
    }

    fn newest(&self) -> Option<EventTime> {
        self.next.checked_sub(1).map(|last| self.model.sent(last))
    }

    fn begins_at(&self) -> u64 {
        self.next
    }
}

impl Model {
    pub fn new(simulate: &Simulate) -> Self {
        Self { seed: simulate.seed, timeline: Timeline::new(simulate) }
    }

    /// How many events there are; `None`: without end.
    pub fn total(&self) -> Option<u64> {
        self.timeline.total()
    }

    /// What the events are made from: the same text, the same events.
    pub fn identity(&self) -> String {
        format!("recentchange {} {}", self.seed, self.timeline.identity())
    }

    /// The event time at which event `number` is sent.
    pub fn sent(&self, number: u64) -> EventTime {
        self.timeline.sent(number)
    }

    /// No event from `number` on is dated before this, late ones apart.
    pub fn promise(&self, number: u64) -> EventTime {
        Micros(self.timeline.sent(number.saturating_sub(1)).0 - OUT_OF_ORDER_MAX)
    }

    /// Writes event `number` as one line of JSON into `line` and returns its date. A broken event's
    /// date is that of its sending, whatever its text says.
    pub fn write(&self, number: u64, line: &mut String) -> EventTime {
        line.clear();
        let mut dice = Dice::of(self.seed, number);
        let sent = self.timeline.sent(number);
        if let Some((place, late)) = self.timeline.lateness(number) {
            let step = late.span.as_micros() / u128::from(late.rows.max(1)) * u128::from(place);
            let at = Micros(late.from.0 + i64::try_from(step).unwrap_or(0));
            self.change(number, at, &mut dice, line);
            return at;
        }
        let before = number.checked_sub(1).map(|before| self.timeline.sent(before));
        if before.is_none_or(|before| before.0 / HOUR != sent.0 / HOUR) {
            self.canary(number, sent, line);
            return sent;
        }
        let disorder = dice.chance(OUT_OF_ORDER_SHARE);
        let back = i64::try_from(dice.below(980_000)).unwrap_or(0);
        let at = match before {
            Some(before) if disorder => Micros(before.0 - 1_000 - back),
            _ => sent,
        };
        let broken = dice.chance(BROKEN_SHARE);
        self.change(number, at, &mut dice, line);
        if broken {
            spoil(&mut dice, at, line);
        }
        at
    }

    /// Wikimedia's own probe, at least one an hour: only `$schema` and `meta`.
    fn canary(&self, number: u64, at: EventTime, line: &mut String) {
        let _ = write!(
            line,
            r#"{{"$schema":"/mediawiki/recentchange/1.0.0","meta":{{"id":"{}","domain":"canary","stream":"mediawiki.recentchange","dt":"{}"}}}}"#,
            dice::uuid(self.seed, number),
            stamp(at),
        );
    }

    fn change(&self, number: u64, at: EventTime, dice: &mut Dice, line: &mut String) {
        let wiki = wiki(dice);
        let kind = kind(dice);
        let page = page(wiki, dice);
        let address = page.replace(' ', "_");
        let bot = dice.chance(BOT_SHARE);
        let _ = write!(
            line,
            r#"{{"$schema":"/mediawiki/recentchange/1.0.0","meta":{{"uri":"https://{host}/wiki/{address}","request_id":"{request}","id":"{id}","domain":"{host}","stream":"mediawiki.recentchange","dt":"{dt}","topic":"eqiad.mediawiki.recentchange","partition":0,"offset":{offset}}}"#,
            host = wiki.host,
            request = dice::uuid(!self.seed, number),
            id = dice::uuid(self.seed, number),
            dt = stamp(at),
            offset = 6_524_000_000 + number,
        );
        let revision = 2_546_000_000 + 3 * number;
        // Log entries of abuse filters and thanks have no id: 44 % of them, 2.2 % of all.
        if kind != "log" || !dice.chance(4400) {
            let _ = write!(line, r#","id":{}"#, 3_468_000_000 + number);
        }
        let said = said(dice);
        let title = if kind == "categorize" { format!("Category:{page}") } else { page };
        let _ = write!(
            line,
            r#","type":"{kind}","namespace":{},"title":"{title}","title_url":"https://{}/wiki/{address}","comment":"{said}","timestamp":{},"user":"{}","bot":{bot}"#,
            namespace(wiki, kind, dice),
            wiki.host,
            entered(kind, at, dice),
            user(bot, dice),
        );
        if dice.chance(9500) {
            let _ = write!(
                line,
                r#","notify_url":"https://{}/w/index.php?diff={revision}&oldid={}&rcid={}""#,
                wiki.host,
                revision - 1 - dice.below(900),
                3_468_000_000 + number,
            );
        }
        match kind {
            "edit" | "new" => edited(kind, revision, dice, line),
            "log" => logged(dice, line),
            _ => {}
        }
        let _ = write!(
            line,
            r#","server_url":"https://{host}","server_name":"{host}","server_script_path":"/w","wiki":"{}","parsedcomment":"{}"}}"#,
            wiki.name,
            parsed(&said, &address, dice),
            host = wiki.host,
        );
    }
}

/// Milliseconds, as the live stream writes them since 2026.
fn stamp(at: EventTime) -> String {
    at.timestamp().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn wiki(dice: &mut Dice) -> &'static Wiki {
    let mut share = dice.below(10_000);
    for wiki in &WIKIS {
        match share.checked_sub(wiki.share) {
            Some(rest) => share = rest,
            None => return wiki,
        }
    }
    &WIKIS[0]
}

fn kind(dice: &mut Dice) -> &'static str {
    match dice.below(1000) {
        0..556 => "edit",
        556..933 => "categorize",
        933..983 => "log",
        _ => "new",
    }
}

fn page(wiki: &Wiki, dice: &mut Dice) -> String {
    let page = dice.skewed(400_000);
    let mut words = Dice::of(1, page);
    match wiki.name {
        "wikidatawiki" => format!("Q{}", 1_000 + page * 331),
        "commonswiki" => format!(
            "File:{} {} {} {:05}.jpg",
            words.pick(&WORDS),
            words.pick(&WORDS),
            words.pick(&WORDS),
            page
        ),
        _ => format!("{} {} of {}", words.pick(&WORDS), words.pick(&WORDS), words.pick(&WORDS)),
    }
}

fn namespace(wiki: &Wiki, kind: &str, dice: &mut Dice) -> u64 {
    match (kind, wiki.name) {
        ("categorize", _) => 14,
        (_, "commonswiki") => 6,
        (_, "wikidatawiki") => 0,
        _ => *dice.pick(&[&0, &0, &0, &0, &0, &0, &1, &2, &3, &4, &10]),
    }
}

/// The event's own clock, a few seconds behind; years behind for some log entries, which carry the
/// date of an old upload.
fn entered(kind: &str, at: EventTime, dice: &mut Dice) -> i64 {
    let behind = if kind == "log" && dice.chance(140) {
        18 * 31_557_600 + dice.below(31_557_600)
    } else {
        dice.below(4)
    };
    at.0.div_euclid(1_000_000) - i64::try_from(behind).unwrap_or(0)
}

fn user(bot: bool, dice: &mut Dice) -> String {
    match (bot, dice.below(100)) {
        (true, _) => format!("{}Bot{}", WORDS[7], dice.skewed(180)),
        (false, 0..8) => format!("~2026-{:05}-{:02}", dice.below(90_000), dice.below(100)),
        _ => format!("User{:08x}", dice::mix(dice.skewed(60_000)) >> 32),
    }
}

fn said(dice: &mut Dice) -> String {
    let mut said = (*dice.pick(&COMMENTS.each_ref())).to_owned();
    for _ in 0..dice.skewed(14) {
        let _ = write!(said, " {}", dice.pick(&WORDS));
    }
    said
}

/// The comment once more, as HTML with its links: what makes up most of an event's size.
fn parsed(said: &str, address: &str, dice: &mut Dice) -> String {
    let mut parsed =
        format!(r#"<span dir=\"auto\"><span class=\"autocomment\">{said}</span></span>"#);
    for _ in 0..2 + dice.skewed(14) {
        let word = dice.pick(&WORDS);
        let _ = write!(
            parsed,
            r#" <a href=\"/wiki/{word}\" class=\"mw-redirect\" title=\"{word} {address}\">{word}</a>"#
        );
    }
    parsed
}

fn edited(kind: &str, revision: u64, dice: &mut Dice, line: &mut String) {
    let _ = write!(line, r#","minor":{}"#, dice.chance(3000));
    if dice.chance(7300) {
        let _ = write!(line, r#","patrolled":{}"#, dice.chance(6500));
    }
    // Sizes double rather than add: from 2^7 to 2^17 bytes.
    let doubled = 7 + dice.below(10);
    let old = (1 << doubled) + dice.below(1 << doubled);
    let step = 3 + dice.skewed(10);
    let change = dice.below(1 << step);
    let new = if dice.chance(7000) { old + change } else { old.saturating_sub(change) };
    let _ = if kind == "new" {
        write!(line, r#","length":{{"new":{new}}},"revision":{{"new":{revision}}}"#)
    } else {
        let before = revision - 1 - dice.below(900);
        write!(
            line,
            r#","length":{{"old":{old},"new":{new}}},"revision":{{"old":{before},"new":{revision}}}"#
        )
    };
}

fn logged(dice: &mut Dice, line: &mut String) {
    let (log, action) = *dice.pick(&LOGS.each_ref());
    let id = 161_650_000 + dice.below(1_000_000);
    // All three shapes of the live stream: PHP's empty map is a list, some params are plain text.
    let params = match dice.below(3) {
        0 => "[]".to_owned(),
        1 => format!(r#"{{"action":"edit","filter":"550","actions":"tag","log":{id}}}"#),
        _ => format!(r#""{id}""#),
    };
    let _ = write!(
        line,
        r#","log_id":{id},"log_type":"{log}","log_action":"{action}","log_params":{params},"log_action_comment":"{log} {action}: {}""#,
        dice.pick(&WORDS)
    );
}

/// Breaks a good line in one of four ways: cut off, without a date, without an id, from the far
/// future.
fn spoil(dice: &mut Dice, at: EventTime, line: &mut String) {
    match dice.below(4) {
        0 => {
            let mut half = line.len() / 2;
            while !line.is_char_boundary(half) {
                half -= 1;
            }
            line.truncate(half);
        }
        1 => *line = line.replacen(&stamp(at), "yesterday", 1),
        2 => *line = line.replacen(r#","id":""#, r#","lost":""#, 1),
        _ => *line = line.replacen(&stamp(at), "2999-01-01T00:00:00.000Z", 1),
    }
}

#[cfg(test)]
mod tests;
