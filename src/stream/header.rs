//! What the records of one stream process have in common.

use crate::model::commit::Publish;
use crate::model::hive::PartitionBy;
use crate::model::name::{TableName, TopicName};

/// What all records of this process say alike.
#[derive(Debug)]
pub struct RecordHeader {
    pub output: TableName,
    pub topic: TopicName,
    pub topic_id: String,
    pub schema: u32,
    pub partition_by: PartitionBy,
    pub publish: Publish,
    pub job: String,
    /// Random for each process.
    pub writer: String,
}
