//! What a query may name with `$`.

use crate::model::time::Micros;
use datafusion::common::{ParamValues, ScalarValue};

/// Names of [`Parameters`], as a query writes them.
pub const PARAMETER_NAMES: [&str; 4] =
    ["$data_interval_start", "$data_interval_end", "$partition_key", "$run_id"];

/// The values of a run; bound as values, never pasted into the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    pub data_interval_start: Micros,
    pub data_interval_end: Micros,
    pub partition_key: String,
    pub run_id: String,
}

impl Parameters {
    pub(super) fn values(&self) -> ParamValues {
        let moment = |at: Micros| ScalarValue::TimestampMicrosecond(Some(at.0), Some("UTC".into()));
        let text = |text: &str| ScalarValue::Utf8View(Some(text.into()));
        ParamValues::from(vec![
            ("data_interval_start", moment(self.data_interval_start)),
            ("data_interval_end", moment(self.data_interval_end)),
            ("partition_key", text(&self.partition_key)),
            ("run_id", text(&self.run_id)),
        ])
    }
}
