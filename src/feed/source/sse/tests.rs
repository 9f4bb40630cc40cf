use super::rules::Standard;
use super::testing::{Answer, Server as TestServer, header, packed, refusal, stream};
use super::*;
use crate::error::ErrorKind;
use crate::feed::resume::token::Token;
use std::collections::HashSet;
use std::io::Write;

fn server(url: &str) -> Server {
    Server {
        url: url.to_owned(),
        user_agent: "test/1.0 (me@example.org)".to_owned(),
        headers: vec![("x-key".to_owned(), "hunter2".to_owned())],
        silence: Duration::from_secs(20),
        event_bytes_max: 1000,
        retry: Duration::from_millis(10),
    }
}

fn opened(server: Server, resume: Resume) -> EventStream {
    let token = resume.token.as_ref().map(|token| token.text.as_str());
    let rules = Box::new(Standard::resume(vec![], token));
    let fields = Fields::new(Some(vec!["at".to_owned()]), Micros::MAX, None);
    let dates = Dates { max_ahead: Duration::MAX, out_of_order: Some(Duration::from_secs(5)) };
    EventStream::new(server, rules, resume, fields, dates, &Clock::system())
}

/// Reads until the server has no more.
fn all(stream: &mut EventStream) -> Result<Vec<String>, Error> {
    let mut event = Event::default();
    let mut texts = Vec::new();
    loop {
        match stream.read(&mut event)? {
            Next::Event => texts.push(String::from_utf8(event.payload.clone()).unwrap()),
            Next::NotYet => std::thread::yield_now(),
            Next::End => return Ok(texts),
        }
    }
}

#[track_caller]
fn check(answers: Vec<Answer>, expected: &[&str]) -> (EventStream, Vec<String>) {
    let remote = TestServer::scripted(answers);
    let mut stream = opened(server(&remote.url), Resume::default());
    assert_eq!(all(&mut stream).unwrap(), expected);
    (stream, remote.requests())
}

#[test]
fn a_stream_that_is_cut_within_an_event_goes_on_behind_the_last_whole_one() {
    let (stream, requests) = check(
        vec![
            stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: ha"),
            stream("id: 3\ndata: half\n\n"),
        ],
        &["a", "b", "half"],
    );
    let ids: Vec<_> = requests.iter().map(|head| header(head, "last-event-id")).collect();
    assert_eq!(ids, [None, Some("2"), Some("3")]);
    assert_eq!(stream.token_before(stream.position.next()), Some("3"));
}

#[test]
fn every_request_says_who_asks_and_what_for() {
    let (_, requests) = check(vec![], &[]);
    for (name, value) in [
        ("accept", "text/event-stream"),
        ("user-agent", "test/1.0 (me@example.org)"),
        ("x-key", "hunter2"),
        ("accept-encoding", "gzip, br"),
    ] {
        assert_eq!(header(&requests[0], name), Some(value));
    }
}

#[test]
fn a_resumed_feed_says_where_it_was_and_leaves_out_what_is_in_the_topic() {
    let remote = TestServer::scripted(vec![stream("id: 8\ndata: in\n\nid: 9\ndata: new\n\n")]);
    let resume = Resume {
        first_missing: 3,
        behind_all: 5,
        token: Some(Token { before: 4, text: "7".to_owned() }),
        in_topic: HashSet::from([rules::digest(&[b"8\nin"])]),
    };
    let mut stream = opened(server(&remote.url), resume);
    assert_eq!(stream.token_before(5), Some("7"));
    assert_eq!(all(&mut stream).unwrap(), ["new"]);
    assert_eq!(header(&remote.requests()[0], "last-event-id"), Some("7"));
    assert_eq!((stream.left_out(), stream.position.next()), (1, 6));
}

#[test]
fn an_event_that_comes_again_is_left_out() {
    let again = "id: 1\ndata: a\n\n";
    let (stream, _) =
        check(vec![stream(again), stream(&format!("{again}id: 2\ndata: b\n\n"))], &["a", "b"]);
    assert_eq!(stream.left_out(), 1);
}

#[test]
fn a_busy_server_is_asked_again() {
    let (_, requests) = check(
        vec![
            stream("id: 1\ndata: a\n\n"),
            refusal(429, "Retry-After: 0\r\n"),
            refusal(503, ""),
            stream("data: b\n\n"),
        ],
        &["a", "b"],
    );
    let ids: Vec<_> = requests.iter().map(|head| header(head, "last-event-id")).collect();
    assert_eq!(ids, [None, Some("1"), Some("1"), Some("1"), Some("1")]);
}

#[test]
fn a_wait_that_the_server_asks_for_is_kept_and_told() {
    let remote = TestServer::scripted(vec![refusal(429, "Retry-After: 3000\r\n")]);
    let mut stream = opened(server(&remote.url), Resume::default());
    while stream.note().is_none() {
        assert_eq!(stream.read(&mut Event::default()).unwrap(), Next::NotYet);
    }
    let note = stream.note().unwrap();
    assert!(note.starts_with("no events (HTTP 429), tries again in 29"), "{note}");
    assert_eq!(remote.requests().len(), 1);
}

#[test]
fn a_silent_connection_is_left() {
    let silent = Answer { holds: true, ..stream("id: 1\ndata: a\n\n") };
    let remote = TestServer::scripted(vec![silent, stream("id: 2\ndata: b\n\n")]);
    let silence = Duration::from_millis(100);
    let mut stream = opened(Server { silence, ..server(&remote.url) }, Resume::default());
    assert_eq!(all(&mut stream).unwrap(), ["a", "b"]);
}

#[test]
fn a_redirect_is_followed_and_another_host_gets_no_secret() {
    let target = TestServer::scripted(vec![stream("data: a\n\n")]);
    let remote = TestServer::scripted(vec![
        refusal(302, "Location: /there\r\n"),
        refusal(307, &format!("Location: {}/here\r\n", target.url)),
    ]);
    let mut stream = opened(server(&remote.url), Resume::default());
    assert_eq!(all(&mut stream).unwrap(), ["a"]);
    let (first, second) = (remote.requests(), target.requests());
    assert!(first[1].starts_with("get /there ") && header(&first[1], "x-key").is_some());
    assert!(second[0].starts_with("get /here ") && header(&second[0], "x-key").is_none());
    assert!(header(&second[0], "user-agent").is_some());
}

#[test]
fn a_circle_of_redirects_ends() {
    let remote = TestServer::new(|_, _| refusal(302, "Location: /\r\n"));
    let mut stream = opened(server(&remote.url), Resume::default());
    while stream.note().is_none() {
        assert_eq!(stream.read(&mut Event::default()).unwrap(), Next::NotYet);
    }
    assert!(stream.note().unwrap().contains("redirects more than 20 times"));
}

#[test]
fn gzip_and_brotli_are_unpacked() {
    let text = b"retry: 10\nid: 1\ndata: a\n\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut brotli = Vec::new();
    let more = b"id: 2\ndata: b\n\n";
    brotli::CompressorWriter::new(&mut brotli, 4096, 5, 22).write_all(more).unwrap();
    check(
        vec![
            packed(b"Content-Encoding: gzip\r\n", &gzip),
            packed(b"Content-Encoding: br\r\n", &brotli),
        ],
        &["a", "b"],
    );
}

#[test]
fn a_packed_stream_that_is_cut_goes_on_like_any_other() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"retry: 10\nid: 1\ndata: a\n\n").unwrap();
    gzip.flush().unwrap();
    let whole = gzip.get_ref().clone();
    let (_, requests) = check(
        vec![packed(b"Content-Encoding: gzip\r\n", &whole), stream("id: 2\ndata: b\n\n")],
        &["a", "b"],
    );
    assert_eq!(header(&requests[1], "last-event-id"), Some("1"));
}

#[test]
fn a_server_that_never_served_us_and_refuses_is_an_error_and_one_that_did_is_asked_again() {
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
    let html = || Answer { bytes: html.as_bytes().to_vec(), holds: false };
    for (refused, words) in [
        (refusal(404, ""), "HTTP 404"),
        (refusal(403, ""), "HTTP 403"),
        (html(), "its content type is text/html, not text/event-stream"),
    ] {
        let remote = TestServer::scripted(vec![refused]);
        let error = all(&mut opened(server(&remote.url), Resume::default())).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Input);
        let text = error.to_string();
        assert!(text.ends_with(words) && text.starts_with("read the events of http"), "{text}");
    }
    check(
        vec![stream("data: a\n\n"), html(), refusal(404, ""), stream("data: b\n\n")],
        &["a", "b"],
    );
}

#[test]
fn an_event_that_is_too_large_is_counted_and_the_next_is_read() {
    let large = format!("id: 1\ndata: {}\n\nid: 2\ndata: b\n\n", "x".repeat(3000));
    let (stream, requests) = check(vec![stream(&large)], &["b"]);
    assert_eq!(stream.passed_over(), 1);
    assert_eq!(header(&requests[1], "last-event-id"), Some("2"));
}

#[test]
fn the_newest_date_moves_the_promise_and_never_past_the_event_in_hand() {
    let dates = ["00:01:40", "00:01:30", "00:02:00"]
        .map(|at| format!("data: {{\"at\": \"1970-01-01T{at}Z\"}}\n\n"));
    let remote = TestServer::scripted(vec![stream(&dates.concat())]);
    let mut stream = opened(server(&remote.url), Resume::default());
    let mut event = Event::default();
    let mut promises = Vec::new();
    loop {
        match stream.read(&mut event).unwrap() {
            Next::Event => {
                promises.push(stream.promise_before(event.number).unwrap().0 / 1_000_000);
            }
            Next::NotYet => std::thread::yield_now(),
            Next::End => break,
        }
    }
    assert_eq!(promises, [95, 90, 115]);
}

#[test]
fn a_server_that_is_not_there_is_waited_for() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut stream = opened(server(&format!("http://{nobody}/?token=x")), Resume::default());
    while stream.note().is_none() {
        assert_eq!(stream.read(&mut Event::default()).unwrap(), Next::NotYet);
    }
    let note = stream.note().unwrap();
    assert!(note.contains("onnection refused") && !note.contains("token"), "{note}");
}
