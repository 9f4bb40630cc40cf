//! `[[expect]]` of a batch job: its result is loaded whole or not at all.
//!
//! What is judged is the staged file itself, whatever engine made it.

use super::ROWS_SHOWN;
use super::engine::read_back;
use super::show::{Shown, rows, table};
use crate::error::{Error, ErrorKind};
use crate::model::file::LocalFile;
use crate::model::topic::Expect;
use crate::sql::expr::{Compiled, compile_rule};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use std::path::Path;
use std::sync::Arc;

struct Rule {
    expect: Expect,
    compiled: Compiled,
    broken_by: Shown,
}

/// Fails with kind `Data` if a rule is broken: the first one, with the first rows that broke it.
pub(super) async fn judge(expects: &[Expect], file: &LocalFile) -> Result<(), Error> {
    if expects.is_empty() {
        return Ok(());
    }
    let (expects, path) = (expects.to_vec(), file.path.clone());
    let judged = tokio::task::spawn_blocking(move || judge_all(&expects, &path)).await;
    judged.map_err(|err| Error::new(ErrorKind::Bug, err))?
}

fn judge_all(expects: &[Expect], path: &Path) -> Result<(), Error> {
    let (schema, batches) = read_back(path)?;
    let mut rules = rules(expects, &schema)?;
    for batch in batches {
        let batch = batch?;
        rules.iter_mut().try_for_each(|rule| rule.judge(&batch))?;
    }
    let broken = rules.into_iter().find(|rule| rule.broken_by.count() > 0);
    let Some(Rule { expect, broken_by, .. }) = broken else { return Ok(()) };
    let (name, broken) = (&expect.name, rows(broken_by.count()));
    let problem = format!("expectation \"{name}\" broken by {broken}\n{}", table(&broken_by)?);
    Err(Error::new(ErrorKind::Data, problem).remedy("nothing was replaced or loaded"))
}

fn rules(expects: &[Expect], schema: &SchemaRef) -> Result<Vec<Rule>, Error> {
    let rule = |expect: &Expect| {
        Ok(Rule {
            expect: expect.clone(),
            compiled: compile_rule(&expect.that, schema)?,
            broken_by: Shown::new(Arc::clone(schema), ROWS_SHOWN),
        })
    };
    expects.iter().map(rule).collect()
}

impl Rule {
    fn judge(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let holds = self.compiled.evaluate_rule(batch)?;
        // As in a SQL CHECK, what is not known passes.
        let broken: BooleanArray = holds.iter().map(|holds| Some(holds == Some(false))).collect();
        if broken.has_true() {
            let rows = filter_record_batch(batch, &broken);
            self.broken_by.add(&rows.map_err(|err| Error::new(ErrorKind::Bug, err))?);
        }
        Ok(())
    }
}
