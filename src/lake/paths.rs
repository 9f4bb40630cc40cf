//! The only former of object names.
//!
//! What readers may list is under `<data set>/<table>/`, one folder a hive partition. Everything
//! of ours is under `_tidemill/`, where no plain lister of a table looks: Hive and Spark skip
//! names that begin with `_`, BigQuery and DuckDB promise no such thing.

use crate::model::hive::PartitionKey;
use crate::model::name::TableName;
use object_store::path::Path;
use uuid::Uuid;

const OURS: &str = "_tidemill";

const SUCCESS: &str = "_SUCCESS";

/// Things that only a lake on local disk needs: half-written files and locks. Never listed.
pub const LOCAL: &str = "_tidemill/local";

/// How much of a topic id is part of names; two topics of one table never share it in practice,
/// and a record that belongs to another topic is refused when it is read.
pub const TOPIC_ID_DIGITS: usize = 8;

/// Whose log, stage and files: one topic partition of one output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    output: TableName,
    /// The first digits of the topic's id.
    topic: String,
    topic_partition: u32,
}

impl Place {
    pub fn new(output: &TableName, topic_id: &str, topic_partition: u32) -> Self {
        let topic = topic_id.chars().take(TOPIC_ID_DIGITS).collect();
        Self { output: output.clone(), topic, topic_partition }
    }

    pub fn output(&self) -> &TableName {
        &self.output
    }

    pub fn topic_partition(&self) -> u32 {
        self.topic_partition
    }

    /// Whether the topic with this id has its log here.
    pub fn is_of(&self, topic_id: &str) -> bool {
        *self == Self::new(&self.output, topic_id, self.topic_partition)
    }

    pub fn record(&self, seq: u64) -> Path {
        format!("{}/{seq:020}.json", self.folder("log")).into()
    }

    /// Holds the records and nothing else.
    pub fn log(&self) -> Path {
        self.folder("log").into()
    }

    pub fn stage(&self) -> Path {
        self.folder("stage").into()
    }

    /// A name in the stage that nobody has had before.
    pub fn staged(&self, seq: u64) -> Path {
        format!("{}/{seq}-{}", self.folder("stage"), Uuid::new_v4().simple()).into()
    }

    /// Which record a staged object was made for.
    pub fn staged_for(&self, staged: &Path) -> Option<u64> {
        let rest = staged.as_ref().strip_prefix(&self.folder("stage"))?.strip_prefix('/')?;
        rest.split_once('-')?.0.parse().ok()
    }

    /// The `index`-th file of record `seq`: a hive partition's, or a quarantine file.
    pub fn published(&self, seq: u64, key: Option<&PartitionKey>, index: u32) -> Path {
        let folder = match key {
            Some(key) => hive_partition(&self.output, key).to_string(),
            None => quarantine(&self.output).to_string(),
        };
        let Self { topic, topic_partition, .. } = self;
        format!("{folder}/{topic}-{topic_partition}-{seq}-{index}.parquet").into()
    }

    fn folder(&self, what: &str) -> String {
        let Self { output, topic, topic_partition } = self;
        format!("{OURS}/{output}/{what}/{topic}-{topic_partition}")
    }
}

pub fn lake_identity() -> Path {
    format!("{OURS}/lake.json").into()
}

/// Holds a folder for each topic partition that ever had a record.
pub fn logs(output: &TableName) -> Path {
    format!("{OURS}/{output}/log").into()
}

/// The topic partition whose log is the folder `log`.
pub fn place_of(output: &TableName, log: &Path) -> Option<Place> {
    let (topic, topic_partition) = log.filename()?.rsplit_once('-')?;
    let topic_partition = topic_partition.parse().ok()?;
    Some(Place { output: output.clone(), topic: topic.to_owned(), topic_partition })
}

/// Whose record an object is, and which; `None` for what no writer of ours has put there.
pub fn record_of(output: &TableName, object: &Path) -> Option<(Place, u64)> {
    let (log, file) = object.as_ref().rsplit_once('/')?;
    let place = place_of(output, &log.into())?;
    let seq = file.strip_suffix(".json")?.parse().ok()?;
    (seq > 0 && place.record(seq) == *object).then_some((place, seq))
}

/// Whose record publishes a file under this name, and which.
pub fn published_by(output: &TableName, file: &Path) -> Option<(Place, u64)> {
    let mut parts = file.filename()?.strip_suffix(".parquet")?.rsplitn(4, '-');
    let index = parts.next()?.parse().ok()?;
    let seq = parts.next()?.parse().ok()?;
    let topic_partition = parts.next()?.parse().ok()?;
    let topic = parts.next().filter(|topic| topic.chars().count() == TOPIC_ID_DIGITS)?;
    let place = Place { output: output.clone(), topic: topic.to_owned(), topic_partition };
    let ours = place.published(seq, key_of(output, file).as_ref(), index);
    (seq > 0 && ours == *file).then_some((place, seq))
}

/// The place of the folders of all examinations.
pub fn probes() -> Path {
    format!("{OURS}/probe").into()
}

/// A folder for one examination of the store, which nobody else has.
pub fn probe() -> Path {
    probes().join(Uuid::new_v4().simple().to_string())
}

pub fn quarantine(output: &TableName) -> Path {
    format!("{OURS}/{output}/quarantine").into()
}

pub fn members(output: &TableName, k: u64) -> Path {
    format!("{OURS}/{output}/sources/{k}.json").into()
}

pub fn schema(output: &TableName, k: u64) -> Path {
    format!("{OURS}/{output}/schema/{k}.json").into()
}

/// Holds a folder for each hive partition that was ever closed.
pub fn closings(table: &TableName) -> Path {
    format!("{OURS}/{table}/closed").into()
}

pub fn closing(table: &TableName, key: &PartitionKey, n: u64) -> Path {
    format!("{OURS}/{table}/closed/{key}/{n}.json").into()
}

/// The hive partition whose closings the folder `closings` holds.
pub fn closed_key(closings: &Path) -> Option<PartitionKey> {
    closings.filename()?.parse().ok()
}

/// Of which hive partition an object is a closing, and which; `None` for what is none of ours.
pub fn closing_of(table: &TableName, object: &Path) -> Option<(PartitionKey, u64)> {
    let (folder, file) = object.as_ref().rsplit_once('/')?;
    let key = closed_key(&folder.into())?;
    // Closings count in 32 bits.
    let n = file.strip_suffix(".json")?.parse::<u32>().ok()?.into();
    (n > 0 && closing(table, &key, n) == *object).then_some((key, n))
}

/// Which closing a batch's output was made from.
pub fn output_number(table: &TableName, key: &PartitionKey) -> Path {
    format!("{OURS}/{table}/outputs/{key}.json").into()
}

/// Holds the numbers of a batch's outputs.
pub fn outputs(table: &TableName) -> Path {
    format!("{OURS}/{table}/outputs").into()
}

/// The hive partition whose output's number the object `number` is.
pub fn output_key(number: &Path) -> Option<PartitionKey> {
    number.filename()?.strip_suffix(".json")?.parse().ok()
}

/// Where the next output of a hive partition waits.
pub fn output_stage(table: &TableName, key: &PartitionKey) -> Path {
    format!("{OURS}/{table}/outputs/stage/{key}").into()
}

/// A name there that nobody has had before, for the output of closing `n`.
pub fn output_staged(table: &TableName, key: &PartitionKey, n: u32) -> Path {
    format!("{}/{n}-{}", output_stage(table, key), Uuid::new_v4().simple()).into()
}

/// Which closing's output a staged object is.
pub fn output_staged_for(staged: &Path) -> Option<u32> {
    staged.filename()?.split_once('-')?.0.parse().ok()
}

/// The one object of a hive partition that a batch writes.
pub fn output(table: &TableName, key: &PartitionKey) -> Path {
    format!("{}/part-0.parquet", hive_partition(table, key)).into()
}

/// Where the sorted files of closings wait, a folder for each hive partition.
pub fn sorted_stage(table: &TableName) -> Path {
    format!("{OURS}/{table}/sorted").into()
}

/// A name there that nobody has had before, for closing `n` of a hive partition.
pub fn sorted_staged(table: &TableName, key: &PartitionKey, n: u32) -> Path {
    format!("{}/{key}/{n}-{}", sorted_stage(table), Uuid::new_v4().simple()).into()
}

/// Of which closing of which hive partition a staged sorted file is to be a part.
pub fn sorted_staged_for(staged: &Path) -> Option<(PartitionKey, u32)> {
    let (folder, file) = staged.as_ref().rsplit_once('/')?;
    let key = folder.rsplit_once('/')?.1.parse().ok()?;
    Some((key, file.split_once('-')?.0.parse().ok()?))
}

/// The `index`-th sorted file that closing `n` adds.
pub fn sorted(table: &TableName, key: &PartitionKey, n: u32, index: u32) -> Path {
    format!("{}/closing-{n}-{index:05}.parquet", hive_partition(table, key)).into()
}

/// Of which hive partition's closing a sorted file is, and which.
pub fn sorted_by(table: &TableName, file: &Path) -> Option<(PartitionKey, u64)> {
    let key = key_of(table, file)?;
    let name = file.filename()?.strip_prefix("closing-")?.strip_suffix(".parquet")?;
    let (n, index) = name.split_once('-')?;
    let (n, index) = (n.parse().ok()?, index.parse().ok()?);
    (n > 0 && sorted(table, &key, n, index) == *file).then_some((key, n.into()))
}

/// Says to Hive, Spark and those who wait for a file that a hive partition is complete.
pub fn success(table: &TableName, key: &PartitionKey) -> Path {
    format!("{}/{SUCCESS}", hive_partition(table, key)).into()
}

/// Whether an object of a table is such a sign, and no file of rows.
pub fn is_success(object: &Path) -> bool {
    object.filename() == Some(SUCCESS)
}

/// The lock file of a hive partition's output, from the lake's folder.
pub fn output_lock(table: &TableName, key: &PartitionKey) -> String {
    format!("{LOCAL}/locks/{table}-{key}")
}

/// The folder that plain readers list.
pub fn table(table: &TableName) -> Path {
    format!("{}/{}", table.data_set(), table.table()).into()
}

pub fn hive_partition(table: &TableName, key: &PartitionKey) -> Path {
    format!("{}/{}/{}", table.data_set(), table.table(), key.path()).into()
}

/// The hive partition that an object of a table is in.
pub fn key_of(table: &TableName, object: &Path) -> Option<PartitionKey> {
    let rest = object.as_ref().strip_prefix(self::table(table).as_ref())?.strip_prefix('/')?;
    let (hive, _file) = rest.rsplit_once('/')?;
    let text = match hive.split_once('/') {
        Some((day, hour)) => {
            format!("{}T{}", day.strip_prefix("dt=")?, hour.strip_prefix("hour=")?)
        }
        None => hive.strip_prefix("dt=").or_else(|| hive.strip_prefix("month="))?.to_owned(),
    };
    let key: PartitionKey = text.parse().ok()?;
    (key.path() == hive).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_name() -> TableName {
        "raw.recentchange".parse().unwrap()
    }

    fn place() -> Place {
        Place::new(&table_name(), "0123456789abcdef0123456789abcdef", 3)
    }

    #[test]
    fn names_are_those_of_the_design() {
        let key = "2026-11-20T05".parse().unwrap();
        let names = [
            place().record(7),
            place().published(7, Some(&key), 2),
            place().published(7, None, 0),
            members(&table_name(), 1),
            schema(&table_name(), 2),
            closing(&table_name(), &key, 3),
            output(&table_name(), &key),
        ];
        assert_eq!(
            names.map(|name| name.to_string()),
            [
                "_tidemill/raw.recentchange/log/01234567-3/00000000000000000007.json",
                "raw/recentchange/dt=2026-11-20/hour=05/01234567-3-7-2.parquet",
                "_tidemill/raw.recentchange/quarantine/01234567-3-7-0.parquet",
                "_tidemill/raw.recentchange/sources/1.json",
                "_tidemill/raw.recentchange/schema/2.json",
                "_tidemill/raw.recentchange/closed/2026-11-20T05/3.json",
                "raw/recentchange/dt=2026-11-20/hour=05/part-0.parquet",
            ]
        );
    }

    #[test]
    fn a_staged_name_tells_its_record() {
        assert_eq!(place().staged_for(&place().staged(41)), Some(41));
        let other = Place::new(&table_name(), "0123456789", 33);
        assert_eq!(place().staged_for(&other.staged(41)), None);
    }

    #[test]
    fn a_log_folder_tells_its_topic_partition() {
        let folder = Path::from("_tidemill/raw.recentchange/log/01234567-3");
        assert_eq!(place_of(&table_name(), &folder), Some(place()));
    }

    #[test]
    fn a_name_of_ours_tells_its_record_or_closing_and_a_strangers_none() {
        let (table, key) = (table_name(), "2026-11-20T05".parse().unwrap());
        assert_eq!(record_of(&table, &place().record(7)), Some((place(), 7)));
        for published in [place().published(7, Some(&key), 2), place().published(7, None, 0)] {
            assert_eq!(published_by(&table, &published), Some((place(), 7)));
        }
        assert_eq!(closing_of(&table, &closing(&table, &key, 3)), Some((key, 3)));
        assert_eq!(sorted_by(&table, &sorted(&table, &key, 3, 1)), Some((key, 3)));
        for strange in
            ["7.json", "00000000000000000000.json", "junk", "x/00000000000000000007.json"]
        {
            let strange = format!("{}/{strange}", place().log());
            assert_eq!(record_of(&table, &strange.into()), None);
        }
        for strange in ["0.json", "03.json", "3.txt", "5000000000.json"] {
            let strange = format!("{}/{key}/{strange}", closings(&table));
            assert_eq!(closing_of(&table, &strange.into()), None);
        }
        for strange in ["x-3-7-0.parquet", "01234567-3-07-0.parquet", "closing-3-1.parquet"] {
            let strange = format!("{}/{strange}", hive_partition(&table, &key)).into();
            assert_eq!(published_by(&table, &strange), None);
            assert_eq!(sorted_by(&table, &strange), None);
        }
    }

    #[test]
    fn a_published_name_tells_its_hive_partition() {
        for text in ["2026-11-20T05", "2026-11-20", "2026-11"] {
            let key: PartitionKey = text.parse().unwrap();
            assert_eq!(key_of(&table_name(), &output(&table_name(), &key)), Some(key));
        }
        assert_eq!(key_of(&table_name(), &"raw/recentchange/x.parquet".into()), None);
        assert_eq!(key_of(&table_name(), &"raw/recentchange_b/dt=2026-11-20/x".into()), None);
    }
}
