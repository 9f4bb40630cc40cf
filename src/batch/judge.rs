//! `[[expect]]` of a batch job: its result is loaded whole or not at all.

use super::ROWS_SHOWN;
use super::show::Shown;
use super::show::rows;
use super::show::table;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::topic::Expect;
use crate::sql::expr::Compiled;
use crate::sql::expr::compile_rule;
use arrow::array::BooleanArray;
use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// Hears every row of a result.
pub(super) struct Judge {
    rules: Vec<Rule>,
}

struct Rule {
    expect: Expect,
    compiled: Compiled,
    broken_by: Shown,
}

impl Judge {
    pub(super) fn new(expects: &[Expect], schema: &SchemaRef) -> Result<Self, Error> {
        let rule = |expect: &Expect| {
            Ok(Rule {
                expect: expect.clone(),
                compiled: compile_rule(&expect.that, schema)?,
                broken_by: Shown::new(Arc::clone(schema), ROWS_SHOWN),
            })
        };
        Ok(Self { rules: expects.iter().map(rule).collect::<Result<_, Error>>()? })
    }

    pub(super) fn hear(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        for rule in &mut self.rules {
            let holds = rule.compiled.evaluate_rule(batch)?;
            // As in a SQL CHECK, what is not known passes.
            let broken: BooleanArray =
                holds.iter().map(|holds| Some(holds == Some(false))).collect();
            if broken.has_true() {
                let rows = filter_record_batch(batch, &broken);
                rule.broken_by.add(&rows.map_err(|err| Error::new(ErrorKind::Bug, err))?);
            }
        }
        Ok(())
    }

    /// Fails if a rule was broken: the first one, with the first rows that broke it.
    pub(super) fn verdict(self) -> Result<(), Error> {
        let broken = self.rules.into_iter().find(|rule| rule.broken_by.count() > 0);
        let Some(Rule { expect, broken_by, .. }) = broken else { return Ok(()) };
        let (name, broken) = (&expect.name, rows(broken_by.count()));
        let problem = format!("expectation \"{name}\" broken by {broken}\n{}", table(&broken_by)?);
        Err(Error::new(ErrorKind::Data, problem).remedy("nothing was replaced or loaded"))
    }
}
