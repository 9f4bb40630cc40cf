//! Live progress: two lines that stay on a terminal, one line every few seconds elsewhere.

use super::watch::Facts;
use crate::model::hive::PartitionKey;
use crate::model::time::Micros;
use crate::terminal::print;
use crate::terminal::screen::count;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

const LINE_EVERY: Duration = Duration::from_secs(5);

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
            Some(bar) => bar.println(line),
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
    let mut reached = false;
    let bar: String = hours
        .iter()
        .map(|hour| match facts.closed.get(hour) {
            Some(1) => '■',
            Some(n) => char::from_digit(*n.min(&9), 10).unwrap_or('9'),
            None if !reached => {
                reached = true;
                '○'
            }
            None => '·',
        })
        .collect();
    let first = format!(
        "{elapsed:>6}   produced {}  {}/s    landed {}    lag {}    watermark {watermark}",
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
        "{first}\n         hours    {bar}    {} closed    batches {} ok{failed}",
        facts.closed.len(),
        facts.batches_done,
    )
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
        0:19   produced 94,620  4,980/s    landed 93,970    lag 632    watermark 2026-11-20 10:26Z
               hours    ■■■■■■■■■■○·············    10 closed    batches 10 ok
        ");
    }
}
