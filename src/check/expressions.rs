//! The one-row SQL of topics: computed columns and expectations.

use super::problem;
use crate::config::problem::Problem;
use crate::config::sql::{Role, SqlText};
use crate::model::column::Origin;
use crate::model::project::Project;
use crate::model::topic::Topic;
use crate::sql::expr;
use crate::sql::problem::SqlProblem;
use crate::sql::types::{arrow_type, schema};

pub fn check(project: &Project, texts: &[SqlText]) -> Vec<Problem> {
    let wrong = |text: &SqlText| {
        let found = match &text.role {
            Role::Computed { topic, column } => {
                computed(project.topics.get(topic)?, column, &text.text.value)
            }
            Role::RowExpectation { topic } => {
                let columns = schema(&project.topics.get(topic)?.columns);
                expr::compile_rule(&text.text.value, &columns).map(drop)
            }
            Role::Query { .. }
            | Role::ResultExpectation { .. }
            | Role::ClusterBy { .. }
            | Role::Test { .. } => return None,
        };
        Some(problem(&found.err()?, text))
    };
    texts.iter().filter_map(wrong).collect()
}

/// A computed column sees the columns that come from fields, never another computed one.
fn computed(topic: &Topic, name: &str, sql: &str) -> Result<(), SqlProblem> {
    let Some(column) = topic.columns.iter().find(|column| column.name == name) else {
        return Ok(());
    };
    let from_fields =
        topic.columns.iter().filter(|column| !matches!(column.origin, Origin::Sql(_)));
    expr::compile(sql, &schema(from_fields), &arrow_type(column.kind)).map(drop)
}
