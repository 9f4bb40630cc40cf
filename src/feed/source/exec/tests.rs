use super::*;
use std::time::Duration;

/// A program in sh, called with the cursor, that ends each time.
fn program(script: &str, token: Option<&str>) -> Program {
    program_behind(script, token, &[])
}

/// Likewise, after a life that has sent events with these ids behind the token.
fn program_behind(script: &str, token: Option<&str>, ids: &[&str]) -> Program {
    let exec = Exec {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        every: Duration::ZERO,
        environment: BTreeMap::new(),
    };
    let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let call = Call { exec, folder: "/".into(), environment };
    let token = token.map(|text| token::Token { before: 7, text: text.to_owned() });
    let in_topic = ids.iter().map(|id| token::digest(id)).collect();
    let resume = Resume { first_missing: 3, behind_all: 7, token, in_topic };
    let date = Some(vec!["at".to_owned()]);
    Program::new(call, resume, Fields::new(date, Micros::MAX, None), &Clock::system())
}

/// Reads until there is an event or an error.
fn next(program: &mut Program) -> Result<Event, Error> {
    let mut event = Event::default();
    loop {
        match program.read(&mut event)? {
            Next::Event => return Ok(event),
            Next::NotYet => std::thread::yield_now(),
            Next::End => unreachable!("a program is called for ever"),
        }
    }
}

fn text(event: &Event) -> String {
    String::from_utf8_lossy(&event.payload).into_owned()
}

#[test]
fn it_is_called_with_the_last_cursor_again_and_again() {
    let script =
        r#"n=${TIDEMILL_CURSOR:-0}; echo "{\"cursor\":\"$((n+1))\",\"event\":{\"n\":$n}}""#;
    let mut program = program(script, Some("5"));
    for (place, expected) in (7..).zip(["{\"n\":5}", "{\"n\":6}", "{\"n\":7}"]) {
        let event = next(&mut program).unwrap();
        assert_eq!((event.number, text(&event).as_str()), (place, expected));
    }
}

#[test]
fn its_first_call_has_no_cursor() {
    let mut program = program(r#"echo "{\"event\":\"${TIDEMILL_CURSOR-none}\"}""#, None);
    assert_eq!(text(&next(&mut program).unwrap()), "\"none\"");
}

#[test]
fn the_token_is_behind_what_was_sent_and_before_what_is_in_hand() {
    let lines = r#"echo '{"cursor":{"at":1},"event":1}'; echo '{"cursor":"b","event":2}'; sleep 9"#;
    let mut program = program(lines, Some("start"));
    let first = next(&mut program).unwrap().number;
    assert_eq!(program.token_before(first), Some("start"));
    assert_eq!(program.token_before(first + 1), Some(r#"{"at":1}"#));
    let second = next(&mut program).unwrap().number;
    assert_eq!(program.token_before(second), Some(r#"{"at":1}"#));
    assert_eq!(program.token_before(second + 1), Some("b"));
}

#[test]
fn an_event_that_is_in_the_topic_is_left_out_by_its_id() {
    let lines = r#"echo '{"id":"in","event":1}'; echo '{"id":"out","event":2}'; sleep 9"#;
    let mut program = program_behind(lines, None, &["in"]);
    let event = next(&mut program).unwrap();
    assert_eq!((text(&event).as_str(), program.left_out()), ("2", 1));
    assert_eq!(event.id_digest, Some(token::digest("out")));
}

#[test]
fn the_token_waits_for_what_is_in_the_topic_behind_it() {
    let lines = r#"echo '{"id":"new","cursor":1,"event":1}'; echo '{"id":"in","cursor":2,"event":2}'
        echo '{"id":"more","cursor":3,"event":3}'; sleep 9"#;
    let mut program = program_behind(lines, Some("start"), &["in"]);
    let new = next(&mut program).unwrap().number;
    assert_eq!(program.token_before(new + 1), Some("start"));
    let more = next(&mut program).unwrap().number;
    assert_eq!(
        (program.token_before(more), program.token_before(more + 1)),
        (Some("2"), Some("3"))
    );
}

#[test]
fn a_mark_promises_that_nothing_earlier_follows() {
    let lines = r#"echo '{"mark":"1970-01-01T00:00:09Z"}'; echo '{"event":{"at":"1970-01-01 00:00:12+00"}}'; sleep 9"#;
    let mut program = program(lines, None);
    let event = next(&mut program).unwrap();
    assert_eq!(program.promise_before(event.number), Some(Micros(9_000_000)));
    assert_eq!((event.at, program.newest()), (Some(Micros(12_000_000)), Some(Micros(12_000_000))));
}

#[test]
fn a_failure_is_an_outage_and_its_half_line_is_not_sent() {
    let error = next(&mut program(r#"printf '{"event":1}'; exit 3"#, None)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.to_string().contains("exit status: 3"), "{error}");
}

#[test]
fn the_last_line_of_a_program_that_ended_well_needs_no_line_end() {
    let event = next(&mut program(r#"printf '{"event":1}'"#, None)).unwrap();
    assert_eq!(text(&event), "1");
}

#[test]
fn a_line_that_is_no_object_of_ours_is_named() {
    for line in ["{\"n\":1}", "plain", "[1]"] {
        let error = next(&mut program(&format!("echo '{line}'"), None)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input, "{line}");
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}

#[test]
fn a_program_that_is_not_there_is_the_users_to_fix() {
    let exec = Exec {
        command: vec!["/no/such/program".to_owned()],
        every: Duration::ZERO,
        environment: BTreeMap::new(),
    };
    let call = Call { exec, folder: "/".into(), environment: BTreeMap::new() };
    let fields = Fields::new(None, Micros::MAX, None);
    let mut missing = Program::new(call, Resume::default(), fields, &Clock::system());
    assert_eq!(next(&mut missing).unwrap_err().kind, ErrorKind::Input);
}
