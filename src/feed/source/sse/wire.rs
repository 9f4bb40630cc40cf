//! One connection to a server that sends events, on a thread of its own.
//!
//! The thread asks, follows redirects, unpacks, and hands over what comes in small pieces. Few of them wait, so
//! a feed that is slower than its server slows the server down instead of filling memory.

use super::answer::{Answer, Broken};
use crate::clock::Clock;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap,
    HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// As many as a browser follows.
const REDIRECTS_MAX: usize = 20;
const CONNECT_MAX: Duration = Duration::from_secs(30);
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the feed.
const PIECES_MAX: usize = 16;
/// As much of the text of a refusal is told.
const REASON_BYTES: usize = 2048;
const BROTLI_BUFFER_BYTES: usize = 4096;

/// How a server is asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub url: String,
    pub user_agent: String,
    /// Their values may be secrets: only the host that was named gets them.
    pub headers: Vec<(String, String)>,
    pub last_event_id: Option<String>,
    /// A connection on which nothing has come for so long is dead.
    pub silence: Duration,
}

/// What a connection brings, in this order.
#[derive(Debug)]
pub enum Piece {
    /// The server has begun a stream.
    Open,
    Bytes(Vec<u8>),
}

/// A connection, until it is dropped.
#[derive(Debug)]
pub struct Connection {
    pieces: Receiver<Result<Piece, Broken>>,
    stop: CancellationToken,
}

impl Connection {
    pub fn open(request: Request, clock: &Clock) -> Self {
        let (sender, pieces) = sync_channel(PIECES_MAX);
        let (stop, clock) = (CancellationToken::new(), clock.clone());
        let asked_to_stop = stop.clone();
        std::thread::spawn(move || {
            let broken = transfer(&request, &clock, &asked_to_stop, &sender);
            let _ = sender.send(Err(broken)); // Whoever has dropped the connection does not ask why.
        });
        Self { pieces, stop }
    }

    /// What has come; `None` where that is nothing now.
    pub fn take(&self) -> Option<Result<Piece, Broken>> {
        match self.pieces.try_recv() {
            Ok(piece) => Some(piece),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Err(Broken::Failed("the thread that reads it has ended".to_owned())))
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Hands over what the server sends, and says why that has ended.
fn transfer(
    request: &Request,
    clock: &Clock,
    stop: &CancellationToken,
    pieces: &SyncSender<Result<Piece, Broken>>,
) -> Broken {
    let failed = |error: &dyn std::fmt::Display| Broken::Failed(error.to_string());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let asked = runtime.block_on(async {
        tokio::select! {
            () = stop.cancelled() => Err(Broken::Closed),
            () = clock.sleep(request.silence) => Err(Broken::Silent),
            answered = ask(request) => answered,
        }
    });
    let response = match asked {
        Ok(response) => response,
        Err(broken) => return broken,
    };
    let packing = text(&response, &CONTENT_ENCODING).unwrap_or_default();
    let silence = request.silence;
    let body = Body { runtime: &runtime, clock, response, left: Bytes::new(), silence, stop };
    let mut unpacked: Box<dyn Read + '_> = match packing.as_str() {
        "" | "identity" => Box::new(body),
        "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(body)),
        "br" => Box::new(brotli::Decompressor::new(body, BROTLI_BUFFER_BYTES)),
        other => {
            return Broken::Failed(format!("it is packed as `{other}`, which was not asked for"));
        }
    };
    if pieces.send(Ok(Piece::Open)).is_err() {
        return Broken::Closed;
    }
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match unpacked.read(&mut buffer) {
            Ok(0) => return Broken::Closed,
            Ok(read) => {
                if pieces.send(Ok(Piece::Bytes(buffer[..read].to_vec()))).is_err() {
                    return Broken::Closed;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Broken::Silent,
            Err(error) => return failed(&error),
        }
    }
}

/// Asks, and follows redirects. What is no stream is an answer to judge.
async fn ask(request: &Request) -> Result<Response, Broken> {
    let failed = |error: reqwest::Error| Broken::Failed(causes(&error.without_url()));
    let client = Client::builder()
        .user_agent(&request.user_agent)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_MAX)
        .tls_built_in_webpki_certs(false)
        .build()
        .map_err(failed)?;
    let mut url =
        Url::parse(&request.url).map_err(|_| Broken::Unsendable("its address".to_owned()))?;
    let own = headers(request)?;
    let mut is_own_host = true;
    for _ in 0..=REDIRECTS_MAX {
        let mut asked = client
            .get(url.clone())
            .header(ACCEPT, "text/event-stream")
            .header(ACCEPT_ENCODING, "gzip, br")
            .header(CACHE_CONTROL, "no-store");
        if let Some(id) = &request.last_event_id {
            asked = asked.header("last-event-id", header_of_id(id)?);
        }
        if is_own_host {
            asked = asked.headers(own.clone());
        }
        let response = asked.send().await.map_err(failed)?;
        let Some(next) = redirect(&url, &response)? else { return stream_of(response).await };
        is_own_host &= next.origin() == url.origin();
        url = next;
    }
    Err(Broken::Failed(format!("it redirects more than {REDIRECTS_MAX} times")))
}

/// The headers of the user's, as secrets.
fn headers(request: &Request) -> Result<HeaderMap, Broken> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let unfit = || Broken::Unsendable(format!("header {name}"));
        let mut value = HeaderValue::from_str(value).map_err(|_| unfit())?;
        value.set_sensitive(true);
        headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?, value);
    }
    Ok(headers)
}

/// Its bytes are sent as they are, in UTF-8.
fn header_of_id(id: &str) -> Result<HeaderValue, Broken> {
    HeaderValue::from_bytes(id.as_bytes())
        .map_err(|_| Broken::Unsendable("the id of the last event".to_owned()))
}

/// Where the answer points to, if it is a redirect.
fn redirect(url: &Url, response: &Response) -> Result<Option<Url>, Broken> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = text(response, &LOCATION) else { return Ok(None) };
    let next = url
        .join(&location)
        .map_err(|error| Broken::Failed(format!("it redirects to what is no address: {error}")))?;
    if url.scheme() == "https" && next.scheme() != "https" {
        return Err(Broken::Failed("it redirects from https to an address without TLS".to_owned()));
    }
    Ok(Some(next))
}

/// The answer if it is a stream.
async fn stream_of(mut response: Response) -> Result<Response, Broken> {
    let kind = text(&response, &CONTENT_TYPE);
    if response.status() == StatusCode::OK && kind.as_deref().is_some_and(is_event_stream) {
        return Ok(response);
    }
    let mut reason = Vec::new();
    if response.status() != StatusCode::OK {
        while let Ok(Some(bytes)) = response.chunk().await {
            reason.extend_from_slice(&bytes[..bytes.len().min(REASON_BYTES - reason.len())]);
            if reason.len() == REASON_BYTES {
                break;
            }
        }
    }
    Err(Broken::Answered(Answer {
        status: response.status().as_u16(),
        content_type: kind,
        retry_after: text(&response, &RETRY_AFTER),
        date: text(&response, &DATE),
        reason: String::from_utf8_lossy(&reason).into_owned(),
    }))
}

/// Parameters such as a character set don't matter: it is UTF-8.
fn is_event_stream(kind: &str) -> bool {
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn text(response: &Response, header: &HeaderName) -> Option<String> {
    let value = response.headers().get(header)?;
    Some(String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
}

/// An error with what lies behind it: reqwest's own words say little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The body as bytes to read, until it ends, is silent for too long, or nobody wants it any more.
struct Body<'a> {
    runtime: &'a Runtime,
    clock: &'a Clock,
    response: Response,
    left: Bytes,
    silence: Duration,
    stop: &'a CancellationToken,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.left.is_empty() {
            let next = self.runtime.block_on(async {
                tokio::select! {
                    () = self.stop.cancelled() => Ok(None),
                    () = self.clock.sleep(self.silence) => {
                        Err(std::io::Error::from(std::io::ErrorKind::TimedOut))
                    }
                    chunk = self.response.chunk() => {
                        chunk.map_err(|error| std::io::Error::other(causes(&error.without_url())))
                    }
                }
            })?;
            match next {
                Some(bytes) => self.left = bytes,
                None => return Ok(0),
            }
        }
        let part = self.left.split_to(self.left.len().min(buffer.len()));
        buffer[..part.len()].copy_from_slice(&part);
        Ok(part.len())
    }
}
