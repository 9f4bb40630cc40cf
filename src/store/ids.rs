//! Ids that end in random characters, so that no store that replaces a lost one gives them out twice.
//! One that is taken all the same is drawn again.

use super::Tx;
use super::db::query;
use crate::error::Error;

const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Four random characters: an id is short enough to be typed, and one in a million is taken.
pub fn random_end() -> String {
    let random: u32 = rand::random();
    (0..4).map(|i| char::from(LETTERS[(random >> (5 * i)) as usize % LETTERS.len()])).collect()
}

impl Tx {
    /// `stem` with a random end that no run has.
    pub async fn free_run_id(&mut self, stem: &str) -> Result<String, Error> {
        self.free("SELECT id FROM runs WHERE id = $1", stem, random_end).await
    }

    /// `stem` with a random end that no attempt has.
    pub async fn free_attempt_id(&mut self, stem: &str) -> Result<String, Error> {
        self.free("SELECT id FROM attempts WHERE id = $1", stem, random_end).await
    }

    async fn free(
        &mut self,
        taken: &'static str,
        stem: &str,
        mut draw: impl FnMut() -> String,
    ) -> Result<String, Error> {
        loop {
            let id = format!("{stem}-{}", draw());
            if query(taken).bind(&id).fetch_optional(self.conn()).await?.is_none() {
                return Ok(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::conformance::NOW;
    use crate::store::tests::with_feed;

    #[tokio::test]
    async fn an_id_that_is_taken_is_drawn_again() {
        let (_folder, store) = with_feed().await;
        let taken = store.launch_stream("wiki.collect", NOW).await.unwrap().unwrap().id;
        let (stem, end) = taken.rsplit_once('-').unwrap();
        let mut draws = [end, end, "free"].into_iter().map(str::to_owned);
        let mut tx = store.begin().await.unwrap();
        let select = "SELECT id FROM attempts WHERE id = $1";
        let id = tx.free(select, stem, || draws.next().unwrap()).await.unwrap();
        assert_eq!((id, draws.next()), (format!("{stem}-free"), None));
    }
}
