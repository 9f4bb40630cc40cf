// Over 400 lines: one claim a test, all on one topic.

use super::{Decoder, Rows};
use crate::kafka::{Headers, Message};
use crate::model::column::{Column, ColumnType, Origin};
use crate::model::time::Micros;
use crate::sql::types;
use arrow::array::RecordBatch;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

/// `name = path: type`, `!` behind the type where it is required; path `*` is the rest.
fn columns(texts: &[&str]) -> Vec<Column> {
    let column = |text: &&str| {
        let (name, rest) = text.split_once(" = ").unwrap();
        let (path, kind) = rest.split_once(": ").unwrap();
        let origin = match path {
            "*" => Origin::Rest,
            part if part.starts_with('$') => Origin::Message(part.parse().unwrap()),
            path => Origin::Path(path.split('.').map(str::to_owned).collect()),
        };
        let required = kind.ends_with('!');
        let kind = kind.trim_end_matches('!').parse().unwrap();
        Column { name: name.into(), origin, kind, required }
    };
    texts.iter().map(column).collect()
}

/// What the row of `message` holds, as JSON; or the reject.
fn decode(columns: &[Column], payload: &[u8]) -> Result<Value, String> {
    decode_message(columns, &message(payload))
}

fn message(payload: &[u8]) -> Message<'_> {
    Message {
        topic_partition: 3,
        offset: 42,
        arrived: Some(Micros(1_500_000)),
        key: Some(b"k-1"),
        payload: Some(payload),
        mark: None,
        headers: &(),
    }
}

fn decode_message(columns: &[Column], message: &Message<'_>) -> Result<Value, String> {
    let mut decoder = Decoder::new(columns);
    let mut rows = Rows::new(columns);
    let payload = message.payload.unwrap();
    let row = decoder.decode(payload, message).map_err(|reject| reject.to_string())?;
    rows.push(&row);
    let schema = Arc::new(types::schema(columns));
    let batch = RecordBatch::try_new(schema, rows.finish()).unwrap();
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    Ok(serde_json::from_slice(&writer.into_inner()).unwrap())
}

#[track_caller]
fn check(texts: &[&str], message: &str, row: &Value) {
    assert_eq!(decode(&columns(texts), message.as_bytes()).as_ref(), Ok(row));
}

#[track_caller]
fn rejected(texts: &[&str], message: &[u8], reason: &str) {
    assert_eq!(decode(&columns(texts), message), Err(reason.into()));
}

#[test]
fn nested_fields_fill_columns_and_the_rest_keeps_the_others() {
    check(
        &["id = meta.id: string!", "old = length.old: int64", "rest = *: json"],
        r#"{"meta":{"id":"a","dt":"x"},"length":{"old":7}, "z" : [1, 2.50],"k\n":null}"#,
        &json!({
            "id": "a",
            "old": 7,
            "rest": r#"{"meta":{"dt":"x"},"z":[1, 2.50],"k\n":null}"#,
        }),
    );
}

/// Names with their values, in the message's order.
struct Sent(Vec<(&'static str, &'static [u8])>);

impl Headers for Sent {
    fn last(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(its, _)| *its == name).map(|(_, value)| *value)
    }
}

#[test]
fn key_headers_and_place_fill_columns_beside_the_fields() {
    let columns = columns(&[
        "id = id: int64",
        "key = $key: string!",
        "raw = $key: bytes",
        "trace = $header.trace.id: string",
        "none = $header.none: string",
        "part = $topic_partition: int64",
        "place = $offset: int64",
        "came = $timestamp: timestamp!",
        "rest = *: json",
    ]);
    let headers = Sent(vec![("trace.id", b"old"), ("x", b"y"), ("trace.id", b"new")]);
    let message = Message { headers: &headers, ..message(br#"{"id":1,"$key":2}"#) };
    let row = json!({
        "id": 1,
        "key": "k-1",
        "raw": "6b2d31",
        "trace": "new",
        "part": 3,
        "place": 42,
        "came": "1970-01-01T00:00:01.500Z",
        "rest": r#"{"$key":2}"#,
    });
    assert_eq!(decode_message(&columns, &message), Ok(row));
    let without = Message { key: None, ..message };
    let reject = Err("$key: required, and it is not there".into());
    assert_eq!(decode_message(&columns, &without), reject);
    let binary = Message { key: Some(b"\xff"), ..message };
    let reject = decode_message(&columns, &binary).unwrap_err();
    assert!(reject.starts_with("$key: invalid UTF-8"), "{reject}");
}

#[test]
fn a_message_whose_fields_are_all_taken_has_an_empty_rest() {
    check(&["a = a: bool", "rest = *: json"], r#"{"a":true}"#, &json!({"a": true, "rest": "{}"}));
}

#[test]
fn absent_and_null_are_null() {
    check(
        &["a = a.b: int64", "c = c: json", "d = d: string"],
        r#"{"a":null,"c":null}"#,
        &json!({}),
    );
}

#[test]
fn sixty_four_bit_ids_keep_every_digit() {
    check(
        &["a = a: int64", "b = b: int64"],
        r#"{"a":9223372036854775807,"b":-9223372036854775808}"#,
        &json!({"a": i64::MAX, "b": i64::MIN}),
    );
}

#[test]
fn every_type_is_read_from_what_json_has_for_it() {
    check(
        &[
            "t = t: timestamp",
            "d = d: date",
            "m = m: decimal(18,2)",
            "n = n: decimal(18,2)",
            "y = y: bytes",
            "f = f: float64",
            "j = j: json",
        ],
        r#"{"t":"2026-11-20T05:31:07.25+01:00","d":"2026-11-20","m":12.5,"n":"-0.05",
            "y":"aGk=","f":0.1,"j":{"a": [1.00]}}"#,
        &json!({
            "t": "2026-11-20T04:31:07.250Z",
            "d": "2026-11-20",
            "m": 12.5,
            "n": -0.05,
            "y": "6869",
            "f": 0.1,
            "j": r#"{"a": [1.00]}"#,
        }),
    );
}

#[test]
fn one_field_may_fill_several_columns_and_its_parts_too() {
    check(
        &["a = x: json", "b = x: json", "c = x.y: int64", "rest = *: json"],
        r#"{"x":{"y":1,"z":2}}"#,
        &json!({"a": r#"{"y":1,"z":2}"#, "b": r#"{"y":1,"z":2}"#, "c": 1, "rest": "{}"}),
    );
}

#[test]
fn strings_lose_their_escapes() {
    check(
        &["a = a: string"],
        r#"{"a":"tab\t \"quoted\" \u00e9 \ud83d\ude00"}"#,
        &json!({"a": "tab\t \"quoted\" é 😀"}),
    );
}

#[test]
fn a_wrong_type_names_the_field_and_what_was_found() {
    let old = ["o = length.old: int64"];
    rejected(&old, br#"{"length":{"old":"x"}}"#, r#"length.old: expected int64, found string "x""#);
    let whole = "length.old: int64 holds whole numbers, found number 1.5";
    rejected(&old, br#"{"length":{"old":1.5}}"#, whole);
    rejected(&old, br#"{"length":{"old":[]}}"#, "length.old: expected int64, found an array");
    rejected(&old, br#"{"length":7}"#, "length: expected an object, found number 7");
    rejected(
        &old,
        br#"{"length":{"old":9223372036854775808}}"#,
        "length.old: too large for int64, found number 9223372036854775808",
    );
    let when = ["t = t: timestamp"];
    rejected(&when, br#"{"t":"today"}"#, r#"t: expected timestamp, found string "today""#);
    rejected(&when, br#"{"t":1763616667}"#, "t: expected timestamp, found number 1763616667");
    rejected(
        &["f = f: float64"],
        br#"{"f":1e999}"#,
        "f: too large for float64, found number 1e999",
    );
    rejected(
        &["m = m: decimal(4,2)"],
        br#"{"m":1.005}"#,
        "m: decimal(4,2) holds 2 digits behind the point, found number 1.005",
    );
}

#[test]
fn what_is_cut_off_a_reason_is_told() {
    let long = format!("{}7.1", "3".repeat(70));
    let reason = format!(
        "m: too large for decimal(38,10), found number {}\u{2026} (73 characters)",
        &long[..60]
    );
    let message = format!("{{\"m\":{long}}}");
    rejected(&["m = m: decimal(38,10)"], message.as_bytes(), &reason);
}

#[test]
fn a_whole_number_is_int64_however_it_is_written() {
    for (written, value) in [("1.0", 1), ("1e2", 100), ("-0", 0), ("-12.50e1", -125)] {
        check(&["a = a: int64"], &format!("{{\"a\":{written}}}"), &json!({"a": value}));
    }
}

#[test]
fn half_a_surrogate_pair_is_rejected_wherever_it_would_be_kept() {
    let half = br#"{"j":{"k":["\ud800"]},"o":{"z":"\udc00 x"},"q":"\ud83d\ude00"}"#;
    let reason = |name: &str| format!("{name}: half of a surrogate pair");
    rejected(&["j = j: json"], half, &reason("j"));
    rejected(&["s = o.z: string"], half, &reason("o.z"));
    rejected(
        &["q = q: string", "j = j: string", "rest = *: json"],
        br#"{"n":"\ud800"}"#,
        &reason("n"),
    );
    rejected(&["n = o.n: int64", "rest = *: json"], br#"{"o":{"z":"\udc00"}}"#, &reason("o.z"));
    check(&["q = q: json"], r#"{"q":"\ud83d\ude00"}"#, &json!({"q": r#""\ud83d\ude00""#}));
    check(&["i = i: int64"], r#"{"i":1,"z":"\ud800"}"#, &json!({"i": 1}));
}

#[test]
fn a_year_that_other_readers_do_not_know_is_rejected() {
    let found = |text: &str| format!(r#"outside years 1 to 9999 in UTC, found string "{text}""#);
    let at = "9999-12-31T23:59:59-01:00";
    let reason = format!("t: {}", found(at));
    rejected(&["t = t: timestamp"], format!("{{\"t\":\"{at}\"}}").as_bytes(), &reason);
    let reason = format!("d: {}", found("0000-12-31"));
    rejected(&["d = d: date"], br#"{"d":"0000-12-31"}"#, &reason);
    let late = Message { arrived: Some(Micros(i64::MAX)), ..message(b"{}") };
    let reject = decode_message(&columns(&["t = $timestamp: timestamp"]), &late).unwrap_err();
    assert!(reject.starts_with("$timestamp: outside years 1 to 9999 in UTC"), "{reject}");
}

#[test]
fn a_required_field_that_is_missing_or_null_is_named() {
    let id = ["id = meta.id: string!"];
    for message in ["{}", r#"{"meta":null}"#, r#"{"meta":{"id":null}}"#] {
        rejected(&id, message.as_bytes(), "meta.id: required, and it is not there");
    }
}

#[test]
fn what_is_no_json_object_is_rejected() {
    let any = ["a = a: string"];
    rejected(&any, b"", "the message is empty");
    rejected(&any, b"[1]", "the message: expected an object, found an array");
    rejected(&any, b"null", "the message: expected an object, found null");
    rejected(&any, br#"{"a":"x","a":"y"}"#, "a: the field comes twice");
    for broken in ["{", "{}x", r#"{"a":}"#, r#"{"a":"x"#, r#"{"b":tru}"#, "{'a':1}"] {
        let reject = decode(&columns(&any), broken.as_bytes()).unwrap_err();
        assert!(reject.starts_with("invalid JSON"), "{broken}: {reject}");
    }
    let reject = decode(&columns(&any), b"{\"b\":\"\xff\"}").unwrap_err();
    assert!(reject.starts_with("invalid UTF-8"), "{reject}");
}

#[test]
fn nesting_without_end_neither_panics_nor_overflows() {
    for deep in ["[", r#"{"a":"#] {
        let message = format!(r#"{{"a":{}"#, deep.repeat(1_000_000));
        for kind in ["string", "json"] {
            let column = columns(&[&format!("a = a: {kind}"), "rest = *: json"]);
            assert!(decode(&column, message.as_bytes()).is_err());
        }
        assert!(decode(&columns(&["b = b: json"]), message.as_bytes()).is_err());
    }
}

#[test]
fn real_events_all_become_rows() {
    let Ok(events) = std::fs::read_to_string("../shared/samples/recentchange-real-varied.jsonl")
    else {
        return;
    };
    let columns = columns(&[
        "id = meta.id: string!",
        "dt = meta.dt: timestamp!",
        "n = id: int64",
        "old = length.old: int64",
        "params = log_params: json",
        "bot = bot: bool",
        "rest = *: json",
    ]);
    for event in events.lines() {
        let row = decode(&columns, event.as_bytes()).unwrap();
        let event: Value = serde_json::from_str(event).unwrap();
        assert_eq!(row["id"], event["meta"]["id"]);
        assert_eq!(row["n"], event["id"]);
        assert_eq!(row["old"], event["length"]["old"]);
        let rest: Value = serde_json::from_str(row["rest"].as_str().unwrap()).unwrap();
        assert_eq!(rest["title"], event["title"]);
        assert_eq!(rest["meta"]["uri"], event["meta"]["uri"]);
        assert!(rest["meta"].get("id").is_none());
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|number: f64| Value::from(number)),
        ".{0,12}".prop_map(Value::from),
        Just(Value::from("2026-11-20T05:31:07Z")),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-e]|.{0,3}", inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-e]", any_json(), 0..5)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// What the column must hold, as `serde_json` sees the message; `Err` if it must be rejected.
fn expected(column: &Column, message: &Value) -> Result<Value, ()> {
    let Origin::Path(path) = &column.origin else { return Err(()) };
    let mut value = message;
    for name in path {
        match value {
            Value::Object(fields) => match fields.get(name) {
                Some(found) => value = found,
                None => return Ok(Value::Null),
            },
            Value::Null => return Ok(Value::Null),
            _ => return Err(()),
        }
    }
    let fits = match column.kind {
        ColumnType::String => value.is_string(),
        ColumnType::Int64 => value.is_i64() || (value.is_f64() && is_whole(value)),
        ColumnType::Bool => value.is_boolean(),
        ColumnType::Float64 => value.is_number(),
        _ => return Ok(if value.is_null() { Value::Null } else { value.to_string().into() }),
    };
    if fits || value.is_null() { Ok(value.clone()) } else { Err(()) }
}

fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|value| value.fract() == 0.0 && value.abs() < 9e18)
}

fn same(found: &Value, wanted: &Value) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => (found - wanted).abs() <= wanted.abs() * 1e-15,
        _ => found == wanted,
    }
}

proptest! {
    #[test]
    fn a_row_holds_what_serde_json_sees(message in any_object()) {
        for text in ["a = a: string", "a = a.b: int64", "a = b: float64", "a = c: bool", "a = d.e: json"] {
            let columns = columns(&[text]);
            let row = decode(&columns, message.to_string().as_bytes());
            match expected(&columns[0], &message) {
                Ok(wanted) => {
                    let row = row.unwrap();
                    let found = row.get("a").unwrap_or(&Value::Null);
                    prop_assert!(same(found, &wanted), "{text}: {found} is not {wanted}");
                }
                Err(()) => prop_assert!(row.is_err(), "{text}: {row:?}"),
            }
        }
    }

    #[test]
    fn taken_fields_and_the_rest_make_up_the_message(message in any_object()) {
        let columns = columns(&["a = a: json", "b = b.c: json", "rest = *: json"]);
        let text = message.to_string();
        // A float's last digit may change when it is read.
        let message: Value = serde_json::from_str(&text).unwrap();
        if let Ok(row) = decode(&columns, text.as_bytes()) {
            let mut rest: Value = serde_json::from_str(row["rest"].as_str().unwrap()).unwrap();
            let mut put = |value: &Value, path: &[&str]| {
                if let Some(text) = value.as_str() {
                    let mut at = &mut rest;
                    for name in path {
                        at = &mut at[*name];
                    }
                    *at = serde_json::from_str(text).unwrap();
                }
            };
            put(&row["a"], &["a"]);
            put(&row["b"], &["b", "c"]);
            // An object that was null, or had nothing but taken nulls, leaves no trace.
            let lean = |value: &Value| {
                let mut value = value.clone();
                for field in ["a", "b"] {
                    if value[field].get("c").is_some_and(Value::is_null) {
                        value[field].as_object_mut().unwrap().remove("c");
                    }
                    if value[field] == json!({}) || value[field].is_null() {
                        value.as_object_mut().unwrap().remove(field);
                    }
                }
                value
            };
            prop_assert_eq!(lean(&rest), lean(&message));
        }
    }

    #[test]
    fn damaged_messages_never_panic(
        message in any_object(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let columns = columns(&[
            "a = a: string", "b = b.c: timestamp", "c = c: decimal(9,2)", "d = d: bytes",
            "e = e: json", "f = a.b: float64", "rest = *: json",
        ]);
        let mut bytes = message.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if decode(&columns, &bytes).is_ok() {
            // By its grammar: a number beyond what a `Value` holds is JSON, too.
            prop_assert!(serde_json::from_slice::<&RawValue>(&bytes).is_ok());
        }
    }
}
