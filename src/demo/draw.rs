//! Live progress: three lines that stay on a terminal, one line every few seconds elsewhere.

use super::watch::Facts;
use crate::model::hive::PartitionKey;
use crate::model::time::Micros;
use crate::terminal::print;
use crate::terminal::screen::count;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

const LINE_EVERY: Duration = Duration::from_secs(5);
/// One less than the terminals that are narrowest.
const WIDTH: usize = 79;
/// Below the times at which something happened.
const MARGIN: &str = "         ";
/// Of more hours each mark stands for several.
const MARKS_MAX: usize = 40;

pub struct Drawing {
    bar: Option<ProgressBar>,
    began: Micros,
    drawn: Option<Micros>,
}

impl Drawing {
    pub fn new(began: Micros) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| {
                ProgressStyle::default_spinner() // The template is ours and sound.
            }));
            bar
        });
        Self { bar, began, drawn: None }
    }

    pub fn progress(&mut self, facts: &Facts, hours: &[PartitionKey], now: Micros) {
        let text = lines(facts, hours, &self.elapsed(now));
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None if self.drawn.is_none_or(|drawn| now.since(drawn) >= LINE_EVERY) => {
                self.drawn = Some(now);
                let one_line: Vec<_> = text.split_whitespace().collect();
                print::note(&format!("  {}", one_line.join(" ")));
            }
            None => {}
        }
    }

    /// A line that stays: something has happened.
    pub fn say(&self, what: &str, now: Micros) {
        let line = format!("{:>6}   {what}", self.elapsed(now));
        match &self.bar {
            Some(bar) => bar.println(wrapped(&line, MARGIN)),
            None => print::note(&line),
        }
    }

    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn elapsed(&self, now: Micros) -> String {
        let secs = now.since(self.began).as_secs();
        format!("{}:{:02}", secs / 60, secs % 60)
    }
}

/// After Ctrl-C the terminal has written `^C` below the bar, so clearing would miss by a line: the bar stays as
/// it is, and what follows begins on a line of its own.
impl Drop for Drawing {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.as_ref().filter(|bar| !bar.is_finished()) {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            print::note("");
        }
    }
}

/// Breaks a line between words so that a terminal does not break it inside one; `margin` stands before
/// each further line.
pub fn wrapped(line: &str, margin: &str) -> String {
    let mut shown = String::new();
    let mut width = 0;
    for (place, word) in line.split(' ').enumerate() {
        let length = word.chars().count();
        if place > 0 && width + 1 + length > WIDTH {
            shown = format!("{}\n{margin}", shown.trim_end());
            width = margin.len();
        } else if place > 0 {
            shown.push(' ');
            width += 1;
        }
        shown.push_str(word);
        width += length;
    }
    shown
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is a few thousand events"
)]
fn whole(rate: f64) -> u64 {
    rate.round().max(0.0) as u64
}

fn lines(facts: &Facts, hours: &[PartitionKey], elapsed: &str) -> String {
    let done = facts.landed + facts.quarantined + facts.dropped;
    let watermark = facts
        .watermark
        .map_or("-".to_owned(), |at| at.timestamp().strftime("%Y-%m-%d %H:%MZ").to_string());
    let first = format!(
        "{elapsed:>6}   produced {}  {}/s  landed {}  lag {}\n{MARGIN}watermark {watermark}",
        count(facts.produced),
        count(whole(facts.rate)),
        count(facts.landed),
        count(facts.produced.saturating_sub(done)),
    );
    if hours.is_empty() {
        return first; // Of a live stream none closes while one looks on.
    }
    let failed = match facts.batches_failed.len() {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    format!(
        "{first}\n{MARGIN}hours {}  {} closed  batches {} ok{failed}",
        marks(facts, hours),
        facts.closed.len(),
        facts.batches_done,
    )
}

/// A mark for each hour: closed, the first that is open, those after it.
fn marks(facts: &Facts, hours: &[PartitionKey]) -> String {
    let mut reached = false;
    let mark = |hours: &[PartitionKey]| {
        let closed = hours.iter().map(|hour| facts.closed.get(hour).copied());
        match closed.min().flatten() {
            Some(1) => '■',
            Some(n) => char::from_digit(n.min(9), 10).unwrap_or('9'),
            None if !reached => {
                reached = true;
                '○'
            }
            None => '·',
        }
    };
    hours.chunks(hours.len().div_ceil(MARKS_MAX).max(1)).map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_hours_stand_before_the_open_one() {
        let hours: Vec<PartitionKey> =
            (0..24).map(|hour| format!("2026-11-20T{hour:02}").parse().unwrap()).collect();
        let facts = Facts {
            produced: 94_620,
            rate: 4_980.0,
            landed: 93_970,
            dropped: 10,
            quarantined: 8,
            watermark: Some("2026-11-20T10:26:00Z".parse::<jiff::Timestamp>().unwrap().into()),
            closed: hours[..10].iter().map(|hour| (*hour, 1)).collect(),
            batches_done: 10,
            ..Facts::default()
        };
        insta::assert_snapshot!(lines(&facts, &hours, "0:19"), @r"
        0:19   produced 94,620  4,980/s  landed 93,970  lag 632
               watermark 2026-11-20 10:26Z
               hours ■■■■■■■■■■○·············  10 closed  batches 10 ok
        ");
    }

    #[test]
    fn of_a_month_of_hours_each_mark_stands_for_several() {
        let first: PartitionKey = "2026-11-01T00".parse().unwrap();
        let hours: Vec<_> =
            std::iter::successors(Some(first), |key| Some(key.next())).take(720).collect();
        let closed = hours[..100].iter().map(|hour| (*hour, 1)).collect();
        let marks = marks(&Facts { closed, ..Facts::default() }, &hours);
        assert_eq!(marks, format!("{}○{}", "■".repeat(5), "·".repeat(34)));
    }

    #[test]
    fn a_long_line_is_broken_between_words() {
        let line = "  0:21   we kill -9 the landing process (pid 41877) at offset 26,102 of topic partition 2";
        let expected = "  0:21   we kill -9 the landing process (pid 41877) at offset 26,102 of topic\n         partition 2";
        assert_eq!(wrapped(line, MARGIN), expected);
        assert_eq!(wrapped("  short", MARGIN), "  short");
    }
}
