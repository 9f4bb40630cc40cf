//! Numbers in JSON, compared with what Python makes of them.

use super::super::row::Slot;
use super::number;
use crate::model::column::ColumnType;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::io::Write;
use std::process::{Command, Stdio};

const NUMBERS: usize = 20_000;

/// Answers each line with what int64, decimal(18,2), decimal(38,10) and float64 hold of the number: as a whole
/// number at the type's scale, or why nothing.
const ORACLE: &str = r#"
import decimal, json, struct, sys
decimal.getcontext().prec = 2000
decimal.getcontext().Emax = decimal.MAX_EMAX
decimal.getcontext().Emin = decimal.MIN_EMIN
def exact(value, digits, scale):
    if not value: return 0
    value = value.scaleb(scale)
    if value.adjusted() > 1000: return "large"
    if value != value.to_integral_value(): return "fraction"
    return int(value) if abs(value) < 10 ** digits else "large"
def whole(value):
    read = exact(value, 19, 0)
    return read if isinstance(read, str) or -2 ** 63 <= read < 2 ** 63 else "large"
for line in sys.stdin:
    text = line.strip()
    value = json.loads(text, parse_int=decimal.Decimal, parse_float=decimal.Decimal)
    number = float(text)
    bits = "large" if number in (float("inf"), float("-inf")) else struct.pack(">d", number).hex()
    print(whole(value), exact(value, 18, 2), exact(value, 38, 10), bits)
"#;

#[test]
#[expect(clippy::print_stdout, reason = "a random test prints its seed")]
fn a_number_is_held_exactly_where_python_says_that_it_fits() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut dice = SmallRng::seed_from_u64(seed);
    let numbers: Vec<String> = (0..NUMBERS).map(|_| any_number(&mut dice)).collect();
    let Some(answers) = asked(&numbers) else {
        writeln!(std::io::stderr(), "SKIPPED: no python3 to compare numbers with").unwrap();
        return;
    };
    assert_eq!(answers.lines().count(), NUMBERS);
    for (number, answer) in numbers.iter().zip(answers.lines()) {
        let kinds = ["int64", "decimal(18,2)", "decimal(38,10)", "float64"];
        let held: Vec<String> =
            kinds.iter().map(|kind| held(kind.parse().unwrap(), number)).collect();
        assert_eq!(held.join(" "), answer, "{number}");
    }
}

fn held(kind: ColumnType, number: &str) -> String {
    match number::slot(kind, number) {
        Ok(Slot::Int(value)) => value.to_string(),
        Ok(Slot::Decimal(value)) => value.to_string(),
        Ok(Slot::Float(value)) => format!("{:016x}", value.to_bits()),
        Err(number::NoNumber::Fraction) => "fraction".into(),
        Err(number::NoNumber::TooLarge) => "large".into(),
        other => panic!("{number} as {kind}: {other:?}"),
    }
}

/// A number in any way that JSON lets it be written, most often near what a column just holds.
fn any_number(dice: &mut SmallRng) -> String {
    let mut digits = |most: usize| -> String {
        let count = dice.random_range(1..=most);
        (0..count).map(|_| char::from(b"0000123456789999"[dice.random_range(0..16)])).collect()
    };
    let whole = match digits(3).len() {
        1 => digits(3),
        2 => digits(20),
        _ => digits(42),
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let fraction = match digits(2).len() {
        1 => String::new(),
        _ => format!(".{}", digits(45)),
    };
    let sign = ["", "-"][dice.random_range(0..2)];
    let exponent = match dice.random_range(0..4) {
        0 => format!("e{}", dice.random_range(-50..50)),
        1 => format!("E+{}", dice.random_range(0..400)),
        _ => String::new(),
    };
    match dice.random_range(0..10) {
        0 => format!("{sign}{}", i128::from(i64::MAX) + dice.random_range(-2..=2)),
        1 => format!("{sign}9.223372036854775808e{}", dice.random_range(17..=19)),
        _ => format!("{sign}{whole}{fraction}{exponent}"),
    }
}

fn asked(numbers: &[String]) -> Option<String> {
    let mut python = Command::new("python3")
        .args(["-c", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = python.stdin.take().unwrap();
    let lines = numbers.join("\n") + "\n";
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap())
}
