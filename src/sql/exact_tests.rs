//! Answers are exact, or an error that names what went wrong: never a wrong number, never a panic.

use super::expr::{compile, compile_rule};
use super::parameters::Parameters;
use super::plan_schema;
use super::session::{Budget, Session};
use super::stack::DEPTH_MAX;
use crate::error::{Error, ErrorKind};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use std::sync::Arc;

/// The cells of the first row, or of none.
async fn ask(text: &str) -> Result<Vec<String>, Error> {
    let spill = std::env::temp_dir().join(format!("tidemill-exact-{}", std::process::id()));
    let session = Session::new(&Budget { memory_bytes: 64 << 20, spill, threads: 2 }, &[])?;
    let query = session.query(text, Some(&Parameters::default()))?;
    let rows: Vec<RecordBatch> = query.rows()?.try_collect().await?;
    let Some(first) = rows.iter().find(|batch| batch.num_rows() > 0) else { return Ok(Vec::new()) };
    Ok(first.columns().iter().map(|cells| array_value_to_string(cells, 0).unwrap()).collect())
}

#[track_caller]
fn check(told: Result<Vec<String>, Error>, message: &str, help: &str) {
    let err = told.unwrap_err();
    assert_eq!(err.kind, ErrorKind::Input, "{err}");
    assert_eq!(err.to_string(), message);
    assert!(err.remedy.clone().unwrap_or_default().contains(help), "{:?}", err.remedy);
}

const ENDS: &str =
    "(values (9223372036854775807, -9223372036854775808, 2, 0)) as t (hi, lo, two, zero)";

#[tokio::test]
async fn whole_numbers_that_leave_their_range_are_an_error_that_names_the_expression() {
    let range = "leaves the range of 64-bit whole numbers";
    for expr in ["hi + two", "lo - two", "hi * two", "-lo", "abs(lo)", "hi + two * two", "lo / -1"]
    {
        let told = ask(&format!("select {expr} as x from {ENDS}")).await;
        check(told, &format!("`{expr}` {range}"), "decimal(38, 0)");
    }
    for expr in ["(hi + two) * two", "two - (hi - lo)"] {
        let err = ask(&format!("select {expr} from {ENDS}")).await.unwrap_err();
        assert!(err.to_string().contains(range), "{err}");
    }
    let told = ask(&format!("select two from {ENDS} where hi + two > zero")).await;
    check(told, &format!("`hi + two` {range}"), "decimal(38, 0)");
}

#[tokio::test]
async fn what_fits_is_as_before() {
    let text = format!(
        "select hi - two, hi + lo, -hi, abs(-two), lo % -1, two * two + 1, abs(-1.5) from {ENDS}"
    );
    let told = ask(&text).await.unwrap();
    let max = i64::MAX;
    let expected = [
        (max - 2).to_string(),
        "-1".into(),
        (-max).to_string(),
        "2".into(),
        "0".into(),
        "5".into(),
        "1.5".into(),
    ];
    assert_eq!(told, expected);
    let wide = format!("select cast(hi as decimal(38, 0)) * two from {ENDS}");
    assert_eq!(ask(&wide).await.unwrap(), ["18446744073709551614"]);
}

#[tokio::test]
async fn a_division_by_zero_names_the_expression() {
    for expr in ["two / zero", "two % zero", "(hi - two) / zero"] {
        let told = ask(&format!("select {expr} from {ENDS}")).await;
        check(told, &format!("`{expr}` divides by zero"), "nullif");
    }
    let told = ask(&format!("select two / nullif(zero, 0) from {ENDS}")).await.unwrap();
    assert_eq!(told, [""]);
}

#[tokio::test]
async fn literals_that_can_not_work_are_told_before_anything_runs() {
    let message = |text: &str| plan_schema(text, &[]).unwrap_err().message;
    let told = message("select 9223372036854775807 + 1 as x");
    assert_eq!(told, "`9223372036854775807 + 1` leaves the range of 64-bit whole numbers");
    assert_eq!(message("select 1 / 0 as x"), "`1 / 0` divides by zero");
}

const BIG: &str = "(select cast('9999999999999999999999999999.9999999999' as decimal(38, 10)) as d
                    from generate_series(1, 2)) as t";

#[tokio::test]
async fn a_sum_of_decimals_that_does_not_fit_is_an_error() {
    let message = "`sum(d)` leaves what decimal(38,10) holds";
    for text in [
        format!("select sum(d) from {BIG}"),
        format!("select sum(d) from {BIG} group by d > 0"),
        format!("select sum(d) over () from {BIG}"),
        format!(
            "select sum(d) over (order by d rows between 1 preceding and current row) as x from {BIG} order by x desc"
        ),
    ] {
        check(ask(&text).await, message, "decimal");
    }
    let told = ask(&format!("select d + d from {BIG}")).await;
    check(told, "`d + d` leaves what decimal(38,10) holds", "decimal");
}

#[tokio::test]
async fn only_the_total_of_a_sum_has_to_fit() {
    for sum in ["sum(v)", "sum(distinct v)"] {
        let text = format!(
            "select {sum} from (values (9223372036854775807), (9223372036854775807),
                (-9223372036854775807), (-9223372036854775807), (5)) as t (v)"
        );
        assert_eq!(ask(&text).await.unwrap(), ["5"], "{sum}");
    }
    let text = "select sum(v) over (order by n rows between 1 preceding and current row) as s from
                (values (1, 9223372036854775807), (2, 0), (3, 9223372036854775807)) as t (n, v)
                order by n desc";
    assert_eq!(ask(text).await.unwrap(), ["9223372036854775807"]);
    let text = text.replace("(2, 0)", "(2, 1)");
    let message = "`sum(v)` leaves the range of 64-bit whole numbers";
    check(ask(&text).await, message, "decimal(38, 0)");
}

#[test]
fn a_computed_column_and_a_rule_fail_for_the_row_and_do_not_wrap() {
    let values = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let rows = RecordBatch::try_from_iter([
        ("qty", values(vec![4_000_000_000])),
        ("price", values(vec![4_000_000_000])),
    ]);
    let rows = rows.unwrap();
    let rule = compile_rule("qty * price > 0", &rows.schema()).unwrap();
    let err = rule.evaluate_rule(&rows).unwrap_err();
    assert_eq!(err.kind, ErrorKind::Data);
    assert_eq!(err.to_string(), "`qty * price` leaves the range of 64-bit whole numbers");
    let wide = compile_rule("cast(qty as decimal(38, 0)) * price > 0", &rows.schema()).unwrap();
    assert!(wide.evaluate_rule(&rows).unwrap().value(0));
    let column = compile("qty * price", &rows.schema(), &DataType::Int64).unwrap();
    assert!(column.evaluate(&rows).is_err());
}

#[tokio::test]
async fn moments_outside_of_nanoseconds_are_values_as_any_other() {
    let far = "(values ('9999-12-31T23:59:59Z'), ('9999-12-31T23:59:59Z')) as t (text)";
    let moments = format!(
        "(select arrow_cast(text, 'Timestamp(Microsecond, Some(\"UTC\"))') as at, cast('9999-12-31' as date) as day from {far}) as m"
    );
    let told = |text: String| async move { ask(&text).await.map(|cells| cells.join(" ")) };
    for (expr, expected) in [
        ("date_trunc('hour', at)", "9999-12-31T23:00:00Z"),
        ("date_trunc('week', at)", "9999-12-27T00:00:00Z"),
        ("date_trunc('month', at)", "9999-12-01T00:00:00Z"),
        ("date_trunc('quarter', day)", "9999-10-01T00:00:00"),
        ("cast(day as timestamp)", "9999-12-31T00:00:00"),
        ("cast('9999-12-31' as timestamp)", "9999-12-31T00:00:00"),
        ("to_timestamp('9999-12-31T00:00:00')", "9999-12-31T00:00:00"),
        ("at > now()", "true"),
        ("at > timestamp '2026-01-01'", "true"),
        ("at >= date '2026-01-01'", "true"),
        ("at < '9999-12-31T23:59:59.5Z'", "true"),
        ("at between timestamp '1500-01-01' and timestamp '9999-12-31 23:59:59'", "true"),
        ("extract(year from at)", "9999"),
        ("cast(5 as timestamp)", "1970-01-01T00:00:05"),
        ("try_cast(5 as timestamp)", "1970-01-01T00:00:05"),
        ("cast(cast(5 as int) as timestamp)", "1970-01-01T00:00:05"),
    ] {
        let text = format!("select {expr} from {moments}");
        assert_eq!(
            told(text).await.map_err(|err| err.to_string()),
            Ok(expected.to_owned()),
            "{expr}"
        );
    }
    let joined =
        format!("select count(*) from {moments} join (select now() as t) as n on m.at > n.t");
    assert_eq!(told(joined).await.unwrap(), "2");
}

#[tokio::test]
async fn a_date_of_rows_never_meets_a_moment_unseen() {
    let days = "(select cast('2026-11-20' as date) as day_start from generate_series(1, 1)) as t";
    for filter in [
        "day_start = $data_interval_start",
        "$data_interval_end > day_start",
        "day_start between $data_interval_start and $data_interval_end",
        "day_start in ($data_interval_start)",
        "day_start = arrow_cast(now(), 'Timestamp(Microsecond, Some(\"UTC\"))')",
    ] {
        let told = ask(&format!("select 1 from {days} where {filter}")).await;
        let message = "`day_start` is a date and is compared with a moment, which it equals at midnight UTC alone";
        check(told, message, "cast($partition_key as date)");
    }
    let text = format!(
        "select 1 from {days} where day_start = cast('2026-11-20' as date) and day_start < timestamp '2026-11-21'"
    );
    assert_eq!(ask(&text).await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_panic_of_the_engine_is_an_error_of_the_query() {
    let text = "select repeat('x', 200000000 + value * 0) as x from generate_series(1, 100)";
    let err = ask(text).await.unwrap_err();
    assert_eq!(err.kind, ErrorKind::Input, "{err}");
}

#[tokio::test]
async fn a_cast_that_fails_is_told_with_its_value_and_a_way_round() {
    let told = ask("select cast(v as bigint) from (values ('7'), ('seven')) as t (v)").await;
    check(told, "Cannot cast string 'seven' to value of Int64 type", "try_cast");
}

fn chain(term: &str, by: &str, terms: usize) -> String {
    vec![term; terms].join(by)
}

#[tokio::test]
async fn thousands_of_ands_are_planned_and_run() {
    let same = chain("v > 0", " and ", 5_000);
    let text = format!("select v from (values (1)) as t (v) where {same}");
    assert_eq!(ask(&text).await.unwrap(), ["1"]);
    let different: Vec<String> = (0..2_000).map(|n| format!("v % {} <> 0", n + 2)).collect();
    let different = different.join(" and ");
    let text = format!("select v from generate_series(1, 1) as t (v) where {different}");
    assert_eq!(ask(&text).await.unwrap(), ["1"]);
}

#[tokio::test]
async fn hundreds_of_terms_and_of_unions_are_planned_and_run() {
    let terms = chain("v", " + ", DEPTH_MAX - 10);
    let text = format!("select {terms} as x from (values (1)) as t (v)");
    assert_eq!(ask(&text).await.unwrap(), [(DEPTH_MAX - 10).to_string()]);
    let unions = chain("select 1 as x", " union all ", 200);
    assert_eq!(ask(&format!("select count(*) from ({unions})")).await.unwrap(), ["200"]);
    assert!(plan_schema(&format!("select count(*) as n from ({unions})"), &[]).is_ok());
}

#[test]
fn what_is_too_deep_or_too_long_is_refused_with_a_limit() {
    let message = |text: &str| plan_schema(text, &[]).unwrap_err().message;
    let terms = chain("1", " + ", 4_000);
    assert_eq!(message(&format!("select {terms} as x")), "an expression nests more than 500 deep");
    let columns = RecordBatch::try_from_iter([(
        "at",
        Arc::new(TimestampMicrosecondArray::from(vec![0])) as ArrayRef,
    )]);
    let columns = columns.unwrap();
    let err = compile(&terms, &columns.schema(), &DataType::Int64).unwrap_err();
    assert_eq!(err.message, "an expression nests more than 500 deep");
    assert!(compile_rule(&chain("at is null", " or ", 5_000), &columns.schema()).is_ok());
    let ors = chain("at is null", " or ", 5_001);
    let err = compile_rule(&ors, &columns.schema()).unwrap_err();
    assert_eq!(err.message, "a chain of 5001 terms, and 5000 is the most");
    assert!(message(&format!("select '{}' as x", "x".repeat(1 << 20))).contains("the text has"));
    assert!(message(&format!("select {}1{} as x", "(".repeat(400), ")".repeat(400))).len() < 200);
}
