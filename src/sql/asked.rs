//! What a person may ask beside a query: which tables there are, their columns, and a query's plan.

use super::problem::SqlProblem;
use super::stack::with_room_for;
use super::statement::{known_table, one_statement};
use super::table::Catalog;
use crate::model::name::TableName;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{ShowStatementOptions, Statement};

/// A question, without what it is about being known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// `select …`, or what is none: whoever plans it tells what is wrong.
    Query(&'a str),
    /// `show tables`
    Tables,
    /// `describe raw.recentchange`, `show columns from raw.recentchange`
    Columns(Catalog, TableName),
    /// `explain select …`
    Plan(&'a str),
}

/// Reads a question.
pub fn asked(text: &str) -> Result<Asked<'_>, SqlProblem> {
    let trimmed = text.trim_start();
    if let Some((first, query)) = trimmed.split_once(char::is_whitespace)
        && first.eq_ignore_ascii_case("explain")
    {
        return Ok(Asked::Plan(query));
    }
    with_room_for(text, || {
        let Ok(Parsed::Statement(statement)) = one_statement(text) else {
            return Ok(Asked::Query(text));
        };
        let table = match statement.as_ref() {
            Statement::ShowTables { .. } => return Ok(Asked::Tables),
            Statement::ExplainTable { table_name, .. } => table_name,
            Statement::ShowColumns { show_options, .. } => match of(show_options) {
                Some(table) => table,
                None => return Ok(Asked::Query(text)),
            },
            _ => return Ok(Asked::Query(text)),
        };
        let (catalog, name) = known_table(text, table)?;
        Ok(Asked::Columns(catalog, name))
    })
}

fn of(options: &ShowStatementOptions) -> Option<&datafusion::sql::sqlparser::ast::ObjectName> {
    options.show_in.as_ref()?.parent_name.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_told_by_its_first_words() {
        let columns = || Asked::Columns(Catalog::Lake, "raw.x".parse().unwrap());
        assert_eq!(asked("select 1").unwrap(), Asked::Query("select 1"));
        assert_eq!(asked("show tables").unwrap(), Asked::Tables);
        assert_eq!(asked("SHOW TABLES;").unwrap(), Asked::Tables);
        assert_eq!(asked("describe raw.x").unwrap(), columns());
        assert_eq!(asked("desc raw.x").unwrap(), columns());
        assert_eq!(asked("show columns from raw.x").unwrap(), columns());
        let warehouse = Asked::Columns(Catalog::Warehouse, "agg.y".parse().unwrap());
        assert_eq!(asked("describe warehouse.agg.y").unwrap(), warehouse);
        assert_eq!(asked(" explain\n select 1").unwrap(), Asked::Plan(" select 1"));
    }

    #[test]
    fn what_is_no_question_is_left_to_the_planner() {
        for text in ["drop table raw.x", "selec 1", "", "select 1; select 2"] {
            assert_eq!(asked(text).unwrap(), Asked::Query(text));
        }
    }
}
