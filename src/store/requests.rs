//! What people and programs ask the daemon to do, and what came of it: the audit log.
//!
//! Whoever asks writes a row and pings; the daemon applies it and writes the answer in the same
//! transaction, so that no request takes effect twice.

use super::db::{Row, query};
use super::{Store, Tx};
use crate::error::{Error, ErrorKind};
use crate::model::attempt::Failure;
use crate::model::request::{Actor, Answer, NewRequest, Outcome, Refusal, Request, RequestKey};
use crate::model::stored::encode;
use crate::model::time::Micros;

/// What is asked for and has no answer yet.
#[derive(Debug, Default)]
pub struct OpenRequests {
    pub readable: Vec<Request>,
    /// By number, with what is wrong: nobody can tell what they ask for.
    pub unreadable: Vec<(i64, Error)>,
}

impl Store {
    /// Leaves a request for the daemon (ping it then) and returns its number.
    ///
    /// One under a key that its actor has used is the request that was made then, and keeps its answer;
    /// `Input` if that one asked for something else.
    pub async fn ask(&self, new: &NewRequest, now: Micros) -> Result<i64, Error> {
        let mut tx = self.begin().await?;
        if let Some(made) = tx.made_before(new).await? {
            return Ok(made);
        }
        let NewRequest { verb, actor, key } = new;
        let row = query(
            "INSERT INTO requests (verb, args, who, via, role, idempotency_key, created_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(verb.name())
        .bind(encode(verb))
        .bind(&actor.who)
        .bind(actor.via.as_str())
        .bind(actor.role.as_str())
        .bind(key.as_ref().map(RequestKey::as_str))
        .bind(now.0)
        .fetch_one(tx.conn())
        .await?;
        let id = row.int("id")?;
        tx.commit().await?;
        Ok(id)
    }

    pub async fn request(&self, id: i64) -> Result<Option<Request>, Error> {
        let query = query("SELECT * FROM requests WHERE id = $1").bind(id);
        query.fetch_optional(&self.db).await?.as_ref().map(request).transpose()
    }

    /// Those not yet applied, in the order in which they were made.
    pub async fn open_requests(&self) -> Result<OpenRequests, Error> {
        let rows = query("SELECT * FROM requests WHERE applied_us IS NULL ORDER BY id")
            .fetch_all(&self.db)
            .await?;
        let mut open = OpenRequests::default();
        for row in &rows {
            match request(row) {
                Ok(request) => open.readable.push(request),
                Err(error) => open.unreadable.push((row.int("id")?, error)),
            }
        }
        Ok(open)
    }

    /// The newest, newest first.
    pub async fn requests(&self, most: u32) -> Result<Vec<Request>, Error> {
        let rows = query("SELECT * FROM requests ORDER BY id DESC LIMIT $1")
            .bind(most)
            .fetch_all(&self.db)
            .await?;
        rows.iter().map(request).collect()
    }
}

impl Tx {
    /// Writes the answer; false if it has one already.
    pub async fn finish_request(
        &mut self,
        id: i64,
        answer: &Answer,
        now: Micros,
    ) -> Result<bool, Error> {
        let done = query(
            "UPDATE requests SET applied_us = $1, answer = $2 WHERE id = $3 AND applied_us IS NULL",
        )
        .bind(now.0)
        .bind(encode(answer))
        .bind(id)
        .execute(self.conn())
        .await?;
        Ok(done > 0)
    }

    /// The number of the request that has this one's key.
    async fn made_before(&mut self, new: &NewRequest) -> Result<Option<i64>, Error> {
        let Some(key) = &new.key else { return Ok(None) };
        let row = query("SELECT * FROM requests WHERE who = $1 AND idempotency_key = $2")
            .bind(&new.actor.who)
            .bind(key.as_str())
            .fetch_optional(self.conn())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let made = request(&row)?;
        if made.verb == new.verb {
            return Ok(Some(made.id));
        }
        let problem =
            format!("request {} has the key `{key}` and asks for something else", made.id);
        Err(Error::new(ErrorKind::Input, problem).remedy("choose another key for another request"))
    }
}

fn request(row: &Row) -> Result<Request, Error> {
    Ok(Request {
        id: row.int("id")?,
        verb: row.stored("args")?,
        actor: Actor { who: row.text("who")?, via: row.parse("via")?, role: row.parse("role")? },
        key: row.parse_opt("idempotency_key")?,
        created: row.time("created_us")?,
        applied: row.time_opt("applied_us")?,
        answer: answer(row)?,
    })
}

fn answer(row: &Row) -> Result<Option<Answer>, Error> {
    if let Some(answer) = row.stored_opt("answer")? {
        return Ok(Some(answer));
    }
    // Versions before `answer` wrote words.
    if let Some(error) = row.text_opt("error")? {
        let kind = row.parse_opt("error_kind")?.unwrap_or(ErrorKind::Bug);
        let failure = Failure { kind, error, remedy: row.text_opt("remedy")? };
        return Ok(Some(Answer::Refused(Refusal::Failed(failure))));
    }
    let words = row.text_opt("outcome")?;
    Ok(words.map(|words| Answer::Done(Outcome::Told { words })))
}
