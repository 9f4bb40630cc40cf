//! The text of a query before it is planned: one statement, that only reads, tables that exist.

use super::parameters::PARAMETER_NAMES;
use super::problem::{SqlProblem, bytes_of_tokens};
use super::stack::{make_shallow, with_room_for};
use super::table::Catalog;
use crate::model::name::TableName;
use datafusion::sql::parser::{DFParser, Statement as Parsed};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{Spanned, visit_expressions, visit_relations};
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

/// They stand where a table does, and read no file.
const TABLE_FUNCTIONS: [&str; 2] = ["generate_series", "range"];

pub(super) struct Statement {
    parsed: Parsed,
}

/// A name as the planner reads it, and the bytes where it stands.
type Named = (String, Option<Range<usize>>);

/// Reads one `select` or `with … select`; runs where there is room for the text.
pub(super) fn read_only(text: &str) -> Result<Statement, SqlProblem> {
    let mut parsed = one_statement(text)?;
    let reads = match &mut parsed {
        Parsed::Statement(statement) => match statement.as_mut() {
            ast::Statement::Query(query) => {
                make_shallow(query)?;
                only_selects(&query.body)
            }
            _ => false,
        },
        _ => false,
    };
    if reads {
        Ok(Statement { parsed })
    } else {
        Err(SqlProblem::new("a query only reads").help("write a `select`"))
    }
}

/// The text as one statement, whatever it does.
pub(super) fn one_statement(text: &str) -> Result<Parsed, SqlProblem> {
    let mut statements = DFParser::parse_sql(text).map_err(|err| SqlProblem::of(text, &err))?;
    let parsed = statements.pop_front().ok_or_else(|| SqlProblem::new("there is no query here"))?;
    if !statements.is_empty() {
        return Err(SqlProblem::new("more than one statement").help("write a single `select`"));
    }
    Ok(parsed)
}

/// The table that a name in a text means.
pub(super) fn known_table(
    text: &str,
    name: &ast::ObjectName,
) -> Result<(Catalog, TableName), SqlProblem> {
    known((plain(name), bytes_of_tokens(text, name.span())))
}

/// The tables that a query reads, whatever exists.
pub fn tables_of(text: &str) -> Result<BTreeSet<(Catalog, TableName)>, SqlProblem> {
    with_room_for(text, || read_only(text)?.tables(text)?.into_iter().map(known).collect())
}

fn only_selects(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => select.into.is_none(),
        ast::SetExpr::Query(query) => only_selects(&query.body),
        ast::SetExpr::SetOperation { left, right, .. } => only_selects(left) && only_selects(right),
        ast::SetExpr::Values(_) => true,
        _ => false,
    }
}

impl Statement {
    pub(super) fn into_datafusion(self) -> Parsed {
        self.parsed
    }

    /// Each name that stands where a table should, but for those that `with` made.
    fn tables(&self, text: &str) -> Result<Vec<Named>, SqlProblem> {
        let (tables, _) =
            resolve_table_references(&self.parsed, true).map_err(|err| SqlProblem::of("", &err))?;
        let wanted: BTreeSet<String> = tables
            .iter()
            .map(ToString::to_string)
            .filter(|name| !TABLE_FUNCTIONS.contains(&name.as_str()))
            .collect();
        let mut places = Vec::new();
        if let Parsed::Statement(statement) = &self.parsed {
            let _ = visit_relations(statement, |name| {
                let table = plain(name);
                if wanted.contains(&table) {
                    places.push((table, bytes_of_tokens(text, name.span())));
                }
                ControlFlow::<()>::Continue(())
            });
        }
        Ok(places)
    }

    pub(super) fn check_tables(&self, text: &str, names: &[String]) -> Result<(), SqlProblem> {
        for (name, at) in self.tables(text)? {
            let short = name.strip_prefix("lake.").unwrap_or(&name);
            if !names.iter().any(|known| known == short) {
                return Err(SqlProblem::new(format!("no table is named `{name}`")).at(at).meant(
                    short,
                    "tables",
                    &names.iter().map(String::as_str).collect::<Vec<_>>(),
                ));
            }
        }
        Ok(())
    }

    /// Refuses names after `$` that nothing is bound to.
    pub(super) fn check_parameters(&self, text: &str, bound: bool) -> Result<(), SqlProblem> {
        let Parsed::Statement(statement) = &self.parsed else { return Ok(()) };
        let wrong = visit_expressions(statement, |expr| match expr {
            ast::Expr::Value(value) => match &value.value {
                ast::Value::Placeholder(name)
                    if !bound || !PARAMETER_NAMES.contains(&name.as_str()) =>
                {
                    ControlFlow::Break((name.clone(), bytes_of_tokens(text, value.span)))
                }
                _ => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        });
        let ControlFlow::Break((name, at)) = wrong else { return Ok(()) };
        Err(if bound {
            SqlProblem::new(format!("no run parameter is named `{name}`")).at(at).meant(
                &name,
                "run parameters",
                &PARAMETER_NAMES,
            )
        } else {
            SqlProblem::new(format!("`{name}` is a run parameter, and there is no run here")).at(at)
        })
    }
}

/// `raw.recentchange`, in lower case where it was not quoted, as the planner reads it.
fn plain(name: &ast::ObjectName) -> String {
    let part = |part: &ast::ObjectNamePart| match part {
        ast::ObjectNamePart::Identifier(ident) if ident.quote_style.is_some() => {
            ident.value.clone()
        }
        ast::ObjectNamePart::Identifier(ident) => ident.value.to_lowercase(),
        ast::ObjectNamePart::Function(_) => part.to_string(),
    };
    name.0.iter().map(part).collect::<Vec<_>>().join(".")
}

fn known((name, at): Named) -> Result<(Catalog, TableName), SqlProblem> {
    let (catalog, table) = match name.split('.').count() {
        3 => match name.split_once('.') {
            Some(("lake", table)) => (Catalog::Lake, table),
            Some(("warehouse", table)) => (Catalog::Warehouse, table),
            _ => (Catalog::Lake, name.as_str()),
        },
        _ => (Catalog::Lake, name.as_str()),
    };
    let unknown = || SqlProblem::new(format!("no table is named `{name}`")).at(at.clone());
    Ok((catalog, table.parse().map_err(|_| unknown())?))
}
