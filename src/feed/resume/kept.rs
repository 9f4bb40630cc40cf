//! What a feed remembers by itself of how far it has come.
//!
//! The topic says it better, event by event, as long as it has the feed's last messages. Once its
//! retention has removed them it says nothing, and a feed that took that for an empty topic would
//! send everything again. So the feed keeps a note beside: written before the first event, with each
//! mark, and at a clean end, after which alone it is exact.

use super::cursor::{Cursor, Fingerprint};
use super::token::Token;
use super::told::Noted;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::name::TopicName;
use crate::model::stored::{Stored, decode, encode};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The note of one feed and topic.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    topic_id: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    topic_id: String,
    /// For each topic partition: the first event that may be missing there.
    missing_from: Vec<u64>,
    /// Nothing was sent since.
    clean: bool,
    /// Format 1 had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
}

impl Stored for Note {
    const NAME: &'static str = "note of a feed";
    const FORMAT: u32 = 2;
}

impl Kept {
    /// In `home`, the state folder of the environment.
    pub fn of(home: &Path, topic: &TopicName, topic_id: &str, feed: &Fingerprint) -> Self {
        let path = home.join("feeds").join(format!("{topic}.{feed}.json"));
        Self { path, topic_id: topic_id.to_owned() }
    }

    /// What was noted, unless it was of a topic that is no more.
    pub fn read(&self) -> Result<Option<Noted>, Error> {
        let doing = || format!("read {}", self.path.display());
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::new(ErrorKind::Unavailable, error)).doing(doing),
        };
        let note: Note = decode(&text).doing(doing)?;
        // A topic that was made again is a new one: everything belongs into it.
        let noted = Noted { missing_from: note.missing_from, exact: note.clean, token: note.token };
        Ok((note.topic_id == self.topic_id).then_some(noted))
    }

    /// What a person can do where topic and note leave open which events are in.
    pub fn remedy(&self) -> String {
        format!(
            "let the feed fill a new topic; or, to go on after what it has noted and risk that its last \
             {} s are sent twice, set `clean` to true in {}",
            super::MARK_EVERY.as_secs(),
            self.path.display()
        )
    }

    /// Notes durably that everything before `next` is in, what the cursor knew beyond, and where a source
    /// that goes by tokens went on.
    pub fn note(
        &self,
        cursor: &Cursor,
        next: u64,
        clean: bool,
        token: Option<Token>,
    ) -> Result<(), Error> {
        let missing_from = cursor.missing_from(next);
        let topic_id = self.topic_id.clone();
        let note = Note { topic_id, missing_from, clean, token };
        self.write(encode(&note).as_bytes())
            .map_err(|error| Error::new(ErrorKind::Unavailable, error))
            .doing(|| format!("write {}", self.path.display()))
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        let mut file = File::create(&draft)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use super::super::told::Told;
    use super::*;
    use crate::model::stored::testing::{check_written, written_by};

    /// What a cursor over two topic partitions knows after a note, of a topic that tells nothing.
    #[track_caller]
    fn check(next: u64, clean: bool, of_topic: &str, expected: Option<u64>) {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("feeds")).unwrap();
        let (topic, feed) = ("wiki".parse().unwrap(), Fingerprint::of(&[b"a feed"]));
        let nothing = Told::nothing(feed.clone());
        let mut sent = nothing.clone().cursor(None, 2).unwrap();
        (0..next).for_each(|number| sent.sends(number));
        Kept::of(home.path(), &topic, "the topic", &feed).note(&sent, next, clean, None).unwrap();
        let noted = Kept::of(home.path(), &topic, of_topic, &feed).read().unwrap();
        let cursor = nothing.cursor(noted.as_ref(), 2);
        assert_eq!(cursor.ok().map(|cursor| cursor.first_missing()), expected);
    }

    #[test]
    fn notes_of_every_release_keep_their_meaning() {
        let topic_id = "8c8b26be0ecf45cdb980fefb77676b6f".to_owned();
        let first = Note { topic_id, missing_from: vec![122, 122], clean: false, token: None };
        let lines = written_by("97188dc", "feed_note");
        assert_eq!(lines.len(), 1);
        assert_eq!(decode::<Note>(lines[0].as_bytes()).unwrap(), first);
        let token = Token { before: 7, text: "c42".into() };
        let with_token = Note { token: Some(token), clean: true, ..first };
        check_written("feed_note", &[encode(&with_token)]);
    }

    #[test]
    fn after_a_clean_end_a_feed_goes_on_though_the_topic_has_forgotten_it() {
        check(10, true, "the topic", Some(10));
    }

    #[test]
    fn after_a_kill_it_stops_where_nobody_knows_what_was_sent() {
        check(10, false, "the topic", None);
    }

    #[test]
    fn a_feed_that_had_sent_nothing_begins() {
        check(0, false, "the topic", Some(0));
    }

    #[test]
    fn a_topic_that_was_made_again_is_filled_anew() {
        check(10, false, "another topic", Some(0));
    }
}
