//! Arithmetic against Python's whole numbers and decimals, which have no limits: random operands near
//! the edges of every type give the same digits, or the error that names the expression.

use super::expr::compile;
use super::session::{Budget, Session};
use crate::error::Error;
use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Reads `op a b` or `sum scale digits…` a line, and answers each with its digits or `-`.
const ORACLE: &str = r"
import decimal, sys
from decimal import Decimal
decimal.getcontext().prec = 400

def whole(op, a, b):
    if op in '/%' and b == 0:
        return '-'
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if op in '/%' else 0
    value = {'+': a + b, '-': a - b, '*': a * b, '/': quotient, '%': a - quotient * b}[op]
    return str(value) if -2**63 <= value < 2**63 else '-'

def fits(value, scale):
    digits = int(value.scaleb(scale).to_integral_value(decimal.ROUND_DOWN))
    return f'{Decimal(digits).scaleb(-scale):.{scale}f}' if abs(digits) < 10**38 else '-'

for line in sys.stdin:
    kind, *rest = line.split()
    if kind == 'int':
        print(whole(rest[0], int(rest[1]), int(rest[2])))
    elif kind == 'dec':
        op, a, b, scale = rest[0], Decimal(rest[1]), Decimal(rest[2]), int(rest[3])
        print(fits({'+': a + b, '-': a - b, '*': a * b}[op], scale))
    else:
        scale, values = int(rest[0]), [Decimal(text) for text in rest[1:]]
        total = sum(values)
        print(fits(total / len(values) if kind == 'avg' else total, scale))
";

/// What the oracle says of each line; `None` without Python.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn oracle(lines: &[String]) -> Option<Vec<Option<String>>> {
    let python = Command::new("python3")
        .args(["-c", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else {
        println!("skipped: python3 is not installed, and it is the oracle");
        return None;
    };
    let mut asked = python.stdin.take().unwrap();
    let text = lines.join("\n") + "\n";
    let asking = std::thread::spawn(move || asked.write_all(text.as_bytes()).unwrap());
    let told = python.wait_with_output().unwrap();
    asking.join().unwrap();
    assert!(told.status.success());
    let told = String::from_utf8(told.stdout).unwrap();
    let told: Vec<_> = told.lines().map(|line| (line != "-").then(|| line.to_owned())).collect();
    assert_eq!(told.len(), lines.len());
    Some(told)
}

#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
#[expect(clippy::disallowed_methods, reason = "whoever repeats a test gives its seed")]
fn seed() -> u64 {
    let seed = std::env::var("TIDEMILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("TIDEMILL_SEED={seed}");
    seed
}

/// Near zero, near the ends, near the roots of the ends, or anywhere.
fn edge(rng: &mut SmallRng, max: i128) -> i128 {
    let near: i128 = rng.random_range(-3..=3);
    let sign = if rng.random() { 1 } else { -1 };
    let value = match rng.random_range(0..4) {
        0 => near,
        1 => max - near.abs(),
        2 => max.isqrt() + near,
        _ => rng.random_range(0..=max),
    };
    sign * value
}

fn evaluate(text: &str, columns: Vec<(&str, ArrayRef)>, kind: &DataType) -> Result<String, Error> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let values = compile(text, &batch.schema(), kind).unwrap().evaluate(&batch)?;
    Ok(array_value_to_string(&values, 0).unwrap())
}

#[track_caller]
fn check(line: &str, told: &Result<String, Error>, expected: Option<&String>, names: &str) {
    match (told, expected) {
        (Ok(told), Some(expected)) => assert_eq!(told, expected, "{line}"),
        (Err(err), None) => assert!(err.to_string().contains(names), "{line}: {err}"),
        (told, expected) => panic!("{line}: {told:?}, and the oracle says {expected:?}"),
    }
}

#[test]
fn whole_numbers_are_exact_or_the_expression_is_named() {
    let mut rng = SmallRng::seed_from_u64(seed());
    let ops = ["+", "-", "*", "/", "%"];
    let cases: Vec<(&str, i64, i64)> = (0..400)
        .map(|case| {
            let mut draw = || i64::try_from(edge(&mut rng, i128::from(i64::MAX))).unwrap();
            (ops[case % ops.len()], draw(), draw())
        })
        .chain([("-", i64::MIN, 1), ("/", i64::MIN, -1), ("%", i64::MIN, -1), ("*", i64::MIN, -1)])
        .collect();
    let lines: Vec<String> = cases.iter().map(|(op, a, b)| format!("int {op} {a} {b}")).collect();
    let Some(expected) = oracle(&lines) else { return };
    for ((line, (op, a, b)), expected) in lines.iter().zip(cases).zip(&expected) {
        let column = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        let columns = vec![("a", column(a)), ("b", column(b))];
        let text = format!("a {op} b");
        let told = evaluate(&text, columns, &DataType::Int64);
        check(line, &told, expected.as_ref(), &format!("`{text}`"));
    }
}

fn written(digits: i128, scale: u32) -> String {
    let unit = 10_i128.pow(scale);
    let sign = if digits < 0 { "-" } else { "" };
    let (whole, part) = (digits.abs() / unit, digits.abs() % unit);
    if scale == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{part:0width$}", width = scale as usize)
}

/// A precision, a scale within it, and digits that fit.
type Decimal = (u8, i8, i128);

fn decimal(rng: &mut SmallRng) -> Decimal {
    let precision = rng.random_range(1..=38_u8);
    let scale = rng.random_range(0..=precision.min(12));
    (precision, scale.cast_signed(), edge(rng, 10_i128.pow(precision.into()) - 1))
}

fn column(digits: i128, precision: u8, scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(vec![digits]);
    Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
}

#[test]
fn decimals_are_exact_or_the_expression_is_named() {
    let mut rng = SmallRng::seed_from_u64(seed());
    let ops = ["+", "-", "*"];
    let cases: Vec<_> =
        (0..400).map(|case| (ops[case % 3], decimal(&mut rng), decimal(&mut rng))).collect();
    let scale = |op: &str, a: i8, b: i8| if op == "*" { a + b } else { a.max(b) };
    let line = |(op, a, b): &(&str, Decimal, Decimal)| {
        let text =
            |(_, scale, digits): &Decimal| written(*digits, u32::from(scale.cast_unsigned()));
        format!("dec {op} {} {} {}", text(a), text(b), scale(op, a.1, b.1))
    };
    let lines: Vec<String> = cases.iter().map(line).collect();
    let Some(expected) = oracle(&lines) else { return };
    for ((line, (op, a, b)), expected) in lines.iter().zip(cases).zip(&expected) {
        let columns = vec![("a", column(a.2, a.0, a.1)), ("b", column(b.2, b.0, b.1))];
        let (text, kind) = (format!("a {op} b"), DataType::Decimal128(38, scale(op, a.1, b.1)));
        let told = evaluate(&text, columns, &kind);
        check(line, &told, expected.as_ref(), &format!("`{text}`"));
    }
}

async fn answer(text: &str) -> Result<String, Error> {
    let spill = std::env::temp_dir().join(format!("tidemill-oracle-{}", std::process::id()));
    let session = Session::new(&Budget { memory_bytes: 64 << 20, spill, threads: 2 }, &[])?;
    let rows: Vec<RecordBatch> = session.query(text, None)?.rows()?.try_collect().await?;
    let rows = arrow::compute::concat_batches(&rows[0].schema(), &rows).unwrap();
    Ok(array_value_to_string(rows.column(0), rows.num_rows() - 1).unwrap())
}

#[tokio::test]
async fn sums_and_averages_are_exact_in_groups_and_in_windows_or_the_expression_is_named() {
    let mut rng = SmallRng::seed_from_u64(seed());
    let (mut lines, mut cases) = (Vec::new(), Vec::new());
    for _ in 0..24 {
        let (precision, scale, _) = decimal(&mut rng);
        let max = 10_i128.pow(precision.into()) - 1;
        let many = rng.random_range(1..6);
        let values: Vec<String> = (0..many)
            .map(|_| written(edge(&mut rng, max), u32::from(scale.cast_unsigned())))
            .collect();
        lines.push(format!("sum {scale} {}", values.join(" ")));
        lines.push(format!("avg {} {}", (scale + 4).min(38), values.join(" ")));
        cases.push((precision, scale, values));
    }
    let Some(expected) = oracle(&lines) else { return };
    for ((precision, scale, values), expected) in cases.into_iter().zip(expected.chunks(2)) {
        let rows = values.iter().enumerate().map(|(n, value)| {
            format!("select {n} as n, cast('{value}' as decimal({precision},{scale})) as x")
        });
        let rows = rows.collect::<Vec<_>>().join(" union all ");
        let sums = [
            format!("select sum(x) from ({rows})"),
            format!("select sum(x) from ({rows}) group by n < 0"),
            format!(
                "select sum(x) over (order by n rows between 9 preceding and current row) from ({rows}) order by n"
            ),
        ];
        for text in sums {
            // A total on the way may leave the type where the last one does not.
            let told = answer(&text).await;
            if text.contains("over") && told.is_err() {
                continue;
            }
            check(&text, &told, expected[0].as_ref(), "`sum(x)`");
        }
        let average = format!("select avg(x) from ({rows})");
        check(&average, &answer(&average).await, expected[1].as_ref(), "verflow");
    }
}
