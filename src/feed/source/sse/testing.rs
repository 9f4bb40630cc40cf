//! Servers for tests: one that follows a script, and one that behaves as Wikimedia's does on a bad day.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Answers each connection as `answer` says, with the number of the connection and the request's head.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// What a connection is answered: bytes to send, and whether it stays open until the client leaves.
pub struct Answer {
    pub bytes: Vec<u8>,
    pub holds: bool,
}

impl Server {
    pub fn new(answer: impl Fn(usize, &str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let head = head(&connection);
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(head.clone());
                    log.len() - 1
                };
                let answer = answer(number, &head);
                // A client that has left is as good as one that has read all.
                let _ = connection.write_all(&answer.bytes);
                if answer.holds {
                    std::thread::spawn(move || connection.read(&mut [0]));
                }
            }
        });
        Self { url, requests }
    }

    /// Answers in this order; then there is no content, which ends a feed.
    pub fn scripted(answers: Vec<Answer>) -> Self {
        let answers = Mutex::new(answers.into_iter());
        Self::new(move |_, _| answers.lock().unwrap().next().unwrap_or_else(|| refusal(204, "")))
    }

    /// The heads of all requests so far, in small letters.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn head(connection: &TcpStream) -> String {
    let mut head = String::new();
    let mut lines = BufReader::new(connection);
    while lines.read_line(&mut head).unwrap_or(0) > 2 {}
    head.to_lowercase()
}

/// A stream that begins and breaks off after `body`; a client comes back at once.
pub fn stream(body: &str) -> Answer {
    packed(b"", &format!("retry: 10\n{body}").into_bytes())
}

/// Likewise, with more headers, and a body as it is.
pub fn packed(headers: &[u8], body: &[u8]) -> Answer {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nConnection: close\r\n";
    Answer { bytes: [head, headers, b"\r\n", body].concat(), holds: false }
}

/// An answer without a stream; `headers` end in line ends.
pub fn refusal(status: u16, headers: &str) -> Answer {
    let text =
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
    Answer { bytes: text.into_bytes(), holds: false }
}

/// What a header says.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// An event of a topic: its time in milliseconds, its number, and whether it is a canary.
#[derive(Clone, Debug)]
struct Told {
    topic: usize,
    at: i64,
    id: u64,
    is_canary: bool,
}

const TOPICS: [&str; 2] = ["eqiad.mediawiki.recentchange", "codfw.mediawiki.recentchange"];
const BEGAN_MS: i64 = 1_700_000_000_000;

/// Wikimedia's stream with `count` events; the active data centre changes, times are a little out of order,
/// many events share a millisecond, and each connection breaks off somewhere, often within a frame.
pub fn wikimedia(seed: u64, count: u64) -> Server {
    let log = log(seed, count);
    Server::new(move |number, head| {
        let mut dice = Dice(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        match dice.roll(12) {
            0 => return refusal(503, ""),
            1 if number > 0 => return refusal(429, "Retry-After: 0\r\n"),
            _ => {}
        }
        let asked = header(head, "last-event-id").map(|id| {
            serde_json::from_str::<Vec<Value>>(id).expect("an id that was sent, or is like it")
        });
        let from = start(&log, asked.as_deref());
        if log.iter().all(|(place, _)| *place < from[0] && *place < from[1]) {
            return refusal(204, "");
        }
        let mut body = b":ok\n\nretry: 10\n".to_vec();
        body.extend(frames(&log, from).concat().into_bytes());
        let most = (dice.roll(60) + 1) * 250;
        body.truncate(usize::try_from(most).unwrap());
        packed(b"", &body)
    })
}

/// The ids that belong into the topic.
pub fn wikimedia_ids(seed: u64, count: u64) -> Vec<String> {
    let rows = log(seed, count).into_iter().filter(|(_, told)| !told.is_canary);
    rows.map(|(_, told)| told.id.to_string()).collect()
}

/// All events in the order in which they happened, each with its place.
fn log(seed: u64, count: u64) -> Vec<(usize, Told)> {
    let mut dice = Dice(seed);
    let (mut at, mut active) = (BEGAN_MS, 0);
    let mut log = Vec::new();
    for id in 0..count {
        at += i64::try_from(dice.roll(4)).unwrap() / 2 * 5;
        if dice.roll(90) == 0 {
            active = 1 - active;
        }
        let is_canary = dice.roll(40) == 0;
        let topic = if is_canary && dice.roll(2) == 0 { 1 - active } else { active };
        let early = if dice.roll(8) == 0 { 7 } else { 0 };
        log.push(Told { topic, at: at - early, id, is_canary });
    }
    // The last of each topic is its newest, so that whoever has it has all.
    for topic in 0..2 {
        log.push(Told { topic, at: at + 1000, id: count + topic as u64, is_canary: false });
    }
    log.into_iter().enumerate().collect()
}

/// Where Kafka goes on in each topic: at the first event that is not before the time that is asked for, or at
/// the end if there is none. A new client begins with the stream.
fn start(log: &[(usize, Told)], asked: Option<&[Value]>) -> [usize; 2] {
    let Some(asked) = asked else { return [0, 0] };
    [0, 1].map(|topic| {
        let place = asked.iter().find(|place| place["topic"] == TOPICS[topic]);
        let Some(time) = place.and_then(|place| place["timestamp"].as_i64()) else {
            return log.len();
        };
        let last = log.iter().rfind(|(_, told)| told.topic == topic);
        if last.is_some_and(|(_, last)| last.at == time) {
            return log.len(); // It has all.
        }
        let first = log.iter().find(|(_, told)| told.topic == topic && told.at >= time);
        first.map_or(log.len(), |(place, _)| *place)
    })
}

fn frames(log: &[(usize, Told)], from: [usize; 2]) -> Vec<String> {
    // Until a topic speaks, its place is an offset of this server's own.
    let mut places = [0, 1].map(|topic| {
        let offset = if from[topic] == log.len() || from[topic] == 0 { -1 } else { 1_000_000 };
        json!({ "topic": TOPICS[topic], "partition": 0, "offset": offset })
    });
    let mut frames = Vec::new();
    for (place, told) in log.iter().filter(|(place, told)| *place >= from[told.topic]) {
        let topic = TOPICS[told.topic];
        places[told.topic] = json!({ "topic": topic, "partition": 0, "timestamp": told.at + 1 });
        let domain = if told.is_canary { "canary" } else { "en.wikipedia.org" };
        let event = json!({ "meta": {
            "id": told.id.to_string(), "domain": domain, "dt": told.at,
            "topic": topic, "partition": 0, "offset": place,
        }});
        let id = json!(places);
        frames.push(format!("event: message\nid: {id}\ndata: {event}\n\n"));
    }
    frames
}

/// Repeatable chance.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
