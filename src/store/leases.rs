//! Who decides: one daemon at a time. Each that takes the lead has a higher epoch than all before it,
//! and every transaction of a leading handle checks in itself that its epoch is still the newest. So a
//! daemon that was taken for dead and wakes up writes nothing.

use super::Store;
use super::db::{Transaction, query};
use crate::error::{Error, ErrorKind};
use crate::model::time::Micros;

/// The one lease that there is; what else must be decided by one alone gets a name of its own.
const DAEMON: &str = "daemon";

/// Who took the lead last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// `4711@host`, for people.
    pub holder: String,
    pub epoch: u64,
    pub taken: Micros,
}

impl Store {
    /// Takes the lead, whoever had it, and returns the handle that decides from now on.
    ///
    /// Every transaction that the former leader begins ends as `Fenced`.
    pub async fn lead(&self, holder: &str, now: Micros) -> Result<Self, Error> {
        let mut tx = Self { leads: None, ..self.clone() }.begin().await?;
        let row = query(
            "INSERT INTO leases (name, holder, epoch, taken_us) VALUES ($1, $2, 1, $3)
             ON CONFLICT (name) DO UPDATE SET
               holder = excluded.holder, epoch = leases.epoch + 1, taken_us = excluded.taken_us
             RETURNING epoch",
        )
        .bind(DAEMON)
        .bind(holder)
        .bind(now.0)
        .fetch_one(tx.conn())
        .await?;
        let epoch = row.number("epoch")?;
        tx.commit().await?;
        Ok(self.under(epoch))
    }

    /// A handle that decides under an epoch which a leader was given, as that leader's own processes do.
    #[must_use]
    pub fn under(&self, epoch: u64) -> Self {
        Self { leads: Some(epoch), ..self.clone() }
    }

    /// The epoch under which this handle decides.
    pub fn epoch(&self) -> Option<u64> {
        self.leads
    }

    /// Who took the lead last; `None` before the first daemon of this version.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        let query = query("SELECT * FROM leases WHERE name = $1").bind(DAEMON);
        let row = query.fetch_optional(&self.db).await?;
        let leader = row.map(|row| {
            Ok(Leader {
                holder: row.text("holder")?,
                epoch: row.number("epoch")?,
                taken: row.time("taken_us")?,
            })
        });
        leader.transpose()
    }
}

/// `Fenced` unless `epoch` is the newest; nobody takes the lead before the transaction has ended.
pub(super) async fn check(tx: &mut Transaction, epoch: u64) -> Result<(), Error> {
    let query =
        query("SELECT holder, epoch FROM leases WHERE name = $1 {lock leases}").bind(DAEMON);
    let row = query.fetch_optional(tx).await?;
    let Some(row) = row else { return Err(fenced("no daemon")) };
    if row.number::<u64>("epoch")? == epoch {
        return Ok(());
    }
    Err(fenced(&row.text("holder")?))
}

fn fenced(leader: &str) -> Error {
    Error::new(ErrorKind::Fenced, format!("another daemon decides now: {leader}"))
        .remedy("one daemon a project: attempts go on, and are now that daemon's to end")
}
