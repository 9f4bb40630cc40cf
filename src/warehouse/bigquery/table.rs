//! A table as its job describes it: made when first loaded into, and followed from then on.

use super::super::Schema;
use super::rest::Rest;
use crate::error::{Error, ErrorKind};
use crate::model::hive::Grain;
use crate::model::job::WarehouseTable;
use crate::model::name::ProjectName;
use gcp_bigquery_client::model::clustering::Clustering;
use gcp_bigquery_client::model::field_type::FieldType;
use gcp_bigquery_client::model::table::Table;
use gcp_bigquery_client::model::table_field_schema::TableFieldSchema;
use gcp_bigquery_client::model::table_schema::TableSchema;
use gcp_bigquery_client::model::time_partitioning::TimePartitioning;
use std::collections::HashMap;
use tracing::{info, warn};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// What the table is to be.
pub(super) struct Wanted<'a> {
    pub project: &'a ProjectName,
    pub to: &'a WarehouseTable,
    pub grain: Grain,
    /// As the warehouse types them, the start column first.
    pub schema: Schema,
}

/// What a load has to know of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fitting {
    /// The load brings columns that the table has not had.
    pub grows: bool,
    /// It was not there.
    pub made: bool,
}

impl Wanted<'_> {
    /// Refuses a table that the load does not fit, without changing anything.
    pub async fn admit(&self, rest: &Rest) -> Result<(), Error> {
        let (set, name) = (self.to.table.data_set(), self.to.table.table());
        match rest.table(set, name).await? {
            Some(found) => self.compare(&found).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Makes data set and table where they are missing, and follows what the job says of them.
    pub async fn ensure(&self, rest: &Rest) -> Result<Fitting, Error> {
        let (set, name) = (self.to.table.data_set(), self.to.table.table());
        let mut made = false;
        let found = if let Some(found) = rest.table(set, name).await? {
            found
        } else {
            // Whoever may make none is refused before the service looks whether there is one.
            if rest.data_set(set).await?.is_none() {
                rest.create_data_set(set).await?;
            }
            if rest.create_table(self.table(rest)?).await? {
                info!(table = %self.to.table, "made table {}", self.to.table);
                made = true;
            }
            let gone = || Error::new(ErrorKind::Unavailable, "it was made and is not there");
            rest.table(set, name).await?.ok_or_else(gone)?
        };
        let fitting = Fitting { made, ..self.compare(&found)? };
        if let Some(warning) = self.forgets(&found) {
            warn!(table = %self.to.table, "{warning}");
        }
        if let Some(patch) = self.patch(&found) {
            rest.patch_table(patch).await?;
        }
        Ok(fitting)
    }

    fn table(&self, rest: &Rest) -> Result<Table, Error> {
        let (set, name) = (self.to.table.data_set(), self.to.table.table());
        let mut table = Table::new(&rest.project, set, name, api_schema(&self.schema)?);
        table.clustering = self.clustering();
        table.time_partitioning = Some(self.partitioning());
        table.description = Some(self.to.description.clone()).filter(|text| !text.is_empty());
        table.labels = Some(self.labels());
        Ok(table)
    }

    fn clustering(&self) -> Option<Clustering> {
        let fields = Some(self.to.cluster_by.clone()).filter(|fields| !fields.is_empty());
        fields.map(|fields| Clustering { fields: Some(fields) })
    }

    /// Whether the table is to be clustered otherwise. One by columns that it lacks has to wait until a
    /// load has brought them.
    fn clusters_anew(&self, found: &Table) -> bool {
        let wanted = &self.to.cluster_by;
        let by = found.clustering.as_ref().and_then(|by| by.fields.as_deref()).unwrap_or_default();
        let fields = found.schema.fields.as_deref().unwrap_or_default();
        let has = |name: &String| fields.iter().any(|field| field.name == *name);
        !wanted.is_empty() && by != wanted && wanted.iter().all(has)
    }

    fn partitioning(&self) -> TimePartitioning {
        let by = match self.grain {
            Grain::Hour => TimePartitioning::per_hour(),
            Grain::Day => TimePartitioning::per_day(),
            Grain::Month => TimePartitioning::per_month(),
        };
        let by = by.field(self.grain.start_column());
        match self.to.expire {
            Some(expire) => by.expiration_ms(expire),
            None => by,
        }
    }

    fn labels(&self) -> HashMap<String, String> {
        let own = [("tidemill_project".to_owned(), self.project.to_string())];
        self.to.labels.clone().into_iter().chain(own).collect()
    }

    /// Whether the load fits the table as it is.
    fn compare(&self, found: &Table) -> Result<Fitting, Error> {
        let start = self.grain.start_column();
        let by = found.time_partitioning.as_ref();
        let fits = by.is_some_and(|by| {
            by.r#type == self.partitioning().r#type && by.field.as_deref() == Some(start)
        });
        if !fits {
            let problem = format!("the table is not partitioned by {} of `{start}`", self.grain);
            return Err(Error::new(ErrorKind::Input, problem)
                .remedy("load into a table of another name; Tidemill makes it as it needs it"));
        }
        let fields = found.schema.fields.as_deref().unwrap_or_default();
        if let Some(field) =
            fields.iter().find(|field| field.mode.as_deref().is_some_and(|mode| mode != "NULLABLE"))
        {
            let mode = field.mode.as_deref().unwrap_or_default();
            let problem = format!("column `{}` of the table is {mode}", field.name);
            let name = &self.to.table;
            return Err(Error::new(ErrorKind::Input, problem).remedy(format!(
                "every column that Tidemill loads is NULLABLE: ALTER TABLE {name} ALTER COLUMN {} DROP NOT NULL",
                field.name
            )));
        }
        let columns = fields.iter().map(|field| (field.name.clone(), type_word(&field.r#type)));
        let before = Schema::of_columns(self.grain, columns.collect());
        self.schema.clone().follow(Some(&before))?;
        Ok(Fitting { grows: self.schema.names().count() > fields.len(), made: false })
    }

    /// What is told of a table that drops hive partitions though the job keeps them: the job had an
    /// `expire` once, or the data set has one for all tables. It may be meant, so it stays.
    fn forgets(&self, found: &Table) -> Option<String> {
        let by = found.time_partitioning.as_ref().filter(|_| self.to.expire.is_none())?;
        let days = by.expiration_ms.as_ref()?.parse::<u64>().ok()? / DAY_MS;
        let name = &self.to.table;
        Some(format!(
            "BigQuery drops the partitions of {name} after {days} days, and its job has no `expire`: set one, or keep them by ALTER TABLE {name} SET OPTIONS (partition_expiration_days = NULL)"
        ))
    }

    /// What the job says otherwise than the table does, if it says anything.
    fn patch(&self, found: &Table) -> Option<Table> {
        let expires = |by: &TimePartitioning| by.expiration_ms.clone();
        let wanted = self.partitioning();
        let found_by = found.time_partitioning.as_ref();
        let description = found.description.clone().unwrap_or_default();
        let labels = found.labels.clone().unwrap_or_default();
        let lacks = self.labels().iter().any(|(key, value)| labels.get(key) != Some(value));
        let same = expires(&wanted).is_none_or(|wanted| found_by.and_then(expires) == Some(wanted))
            && (self.to.description.is_empty() || description == self.to.description)
            && !lacks
            && !self.clusters_anew(found);
        if same {
            return None;
        }
        let mut patch = Table::new(
            found.project_id(),
            found.dataset_id(),
            found.table_id(),
            found.schema.clone(),
        );
        patch.time_partitioning = Some(wanted);
        if self.clusters_anew(found) {
            patch.clustering = self.clustering();
        }
        patch.description = Some(self.to.description.clone()).filter(|text| !text.is_empty());
        patch.labels = Some(labels.into_iter().chain(self.labels()).collect());
        Some(patch)
    }
}

/// The schema as the service types it: what a column is called there.
pub(super) fn schema_of(grain: Grain, columns: &Schema) -> Result<Schema, Error> {
    let typed = columns.names().map(|(name, kind)| {
        let kind = type_of(kind).map(|kind| type_word(&kind));
        let unknown = || {
            Error::new(ErrorKind::Input, format!("BigQuery has no type for column `{name}`"))
                .remedy("cast it in the query")
        };
        Ok((name.to_owned(), kind.ok_or_else(unknown)?))
    });
    Ok(Schema::of_columns(grain, typed.collect::<Result<_, Error>>()?))
}

/// Every column NULLABLE, in this order.
pub(super) fn api_schema(schema: &Schema) -> Result<TableSchema, Error> {
    let fields = schema.names().map(|(name, word)| {
        let unknown = || Error::new(ErrorKind::Bug, format!("`{word}` is no type of BigQuery"));
        let kind = TYPES.iter().find(|(_, known)| *known == word).ok_or_else(unknown)?;
        let mut field = TableFieldSchema::new(name, kind.0.clone());
        field.mode = Some("NULLABLE".to_owned());
        Ok(field)
    });
    Ok(TableSchema::new(fields.collect::<Result<_, Error>>()?))
}

const TYPES: [(FieldType, &str); 10] = [
    (FieldType::String, "STRING"),
    (FieldType::Integer, "INT64"),
    (FieldType::Float, "FLOAT64"),
    (FieldType::Numeric, "NUMERIC"),
    (FieldType::Bignumeric, "BIGNUMERIC"),
    (FieldType::Boolean, "BOOL"),
    (FieldType::Timestamp, "TIMESTAMP"),
    (FieldType::Datetime, "DATETIME"),
    (FieldType::Date, "DATE"),
    (FieldType::Bytes, "BYTES"),
];

/// The type that a column of ours has there.
fn type_of(kind: &str) -> Option<FieldType> {
    Some(match kind {
        "string" => FieldType::String,
        "int64" => FieldType::Integer,
        "float64" => FieldType::Float,
        "bool" => FieldType::Boolean,
        "timestamp" => FieldType::Timestamp,
        "datetime" => FieldType::Datetime,
        "date" => FieldType::Date,
        "bytes" => FieldType::Bytes,
        decimal => return decimal_type(decimal),
    })
}

/// NUMERIC has 29 digits before the point and 9 behind it, BIGNUMERIC 38 and 38.
fn decimal_type(text: &str) -> Option<FieldType> {
    let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale): (i32, i32) = (precision.parse().ok()?, scale.parse().ok()?);
    Some(if scale <= 9 && precision - scale <= 29 {
        FieldType::Numeric
    } else {
        FieldType::Bignumeric
    })
}

/// One word for each type; the service has two for some.
pub(super) fn type_word(kind: &FieldType) -> String {
    let word = match kind {
        FieldType::String => "STRING",
        FieldType::Integer | FieldType::Int64 => "INT64",
        FieldType::Float | FieldType::Float64 => "FLOAT64",
        FieldType::Numeric => "NUMERIC",
        FieldType::Bignumeric => "BIGNUMERIC",
        FieldType::Boolean | FieldType::Bool => "BOOL",
        FieldType::Timestamp => "TIMESTAMP",
        FieldType::Datetime => "DATETIME",
        FieldType::Date => "DATE",
        FieldType::Bytes => "BYTES",
        FieldType::Time => "TIME",
        FieldType::Record | FieldType::Struct => "STRUCT",
        FieldType::Geography => "GEOGRAPHY",
        FieldType::Json => "JSON",
        FieldType::Interval => "INTERVAL",
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    /// What is told of a table that keeps partitions for so many days, and whether it is changed.
    #[track_caller]
    fn check(wanted: Option<u64>, found: Option<u64>, told: bool, changed: bool) {
        let days = |days: u64| Duration::from_hours(days * 24);
        let to = |expire: Option<u64>| WarehouseTable {
            table: "agg.x".parse().unwrap(),
            cluster_by: Vec::new(),
            expire: expire.map(days),
            description: String::new(),
            labels: BTreeMap::new(),
        };
        let (project, (to, before)) = ("wiki".parse().unwrap(), (to(wanted), to(found)));
        let of = |to| Wanted {
            project: &project,
            to,
            grain: Grain::Hour,
            schema: Schema::of_columns(Grain::Hour, Vec::new()),
        };
        let mut table = Table::new("p", "agg", "x", TableSchema::new(Vec::new()));
        table.time_partitioning = Some(of(&before).partitioning());
        table.labels = Some(of(&before).labels());
        assert_eq!(of(&to).forgets(&table).is_some(), told);
        assert_eq!(of(&to).patch(&table).is_some(), changed);
    }

    #[test]
    fn a_table_that_drops_what_its_job_keeps_is_told_and_left_alone() {
        check(None, Some(60), true, false);
        check(None, None, false, false);
        check(Some(60), Some(60), false, false);
        check(Some(60), Some(30), false, true);
        check(Some(60), None, false, true);
    }
}
