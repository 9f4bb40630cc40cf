//! From a connection to an answer: the body is read, a fault is looked for, and then one blocking
//! call does the work.

use crate::fault::{Fault, Faults, Kind, Rule};
use crate::json;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::table::Table;
use crate::xml;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Where tests ask for faults; no bucket's name begins so.
const FAULTS: &str = "/_emulator/faults";

#[derive(Debug)]
pub struct Emulator {
    pub table: Table,
    /// How clients reach us, for links: `http://127.0.0.1:9023`.
    pub address: String,
    pub faults: Faults,
    pub parts: xml::Uploads,
    pub resumable: json::Uploads,
}

pub async fn serve(listener: TcpListener, emulator: Arc<Emulator>) -> io::Result<()> {
    let router = Router::new().fallback(answer).with_state(emulator);
    axum::serve(listener, router).await
}

async fn answer(
    State(emulator): State<Arc<Emulator>>,
    request: axum::extract::Request,
) -> Response {
    let (Parts { method, uri, headers, .. }, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Refusal::invalid("the body broke off").as_xml();
    };
    let query = uri.query().unwrap_or_default();
    let request = Request::new(method, uri.path(), query, headers, body);
    if request.path == FAULTS {
        if request.method == Method::DELETE {
            emulator.faults.end().await;
        }
        return told(&emulator.faults, &request);
    }
    match emulator.faults.of(&request) {
        None => work(emulator, request).await,
        Some(fault) => faulty(emulator, request, fault).await,
    }
}

async fn work(emulator: Arc<Emulator>, request: Request) -> Response {
    let worked = tokio::task::spawn_blocking(move || {
        let Emulator { table, address, parts, resumable, .. } = emulator.as_ref();
        json::answer(table, resumable, address, &request)
            .unwrap_or_else(|| xml::answer(table, parts, &request))
    });
    // Only a bug of ours gets here, and its panic has been printed.
    worked.await.unwrap_or_else(|_| Refusal::fault(500).as_xml())
}

async fn faulty(emulator: Arc<Emulator>, request: Request, fault: Fault) -> Response {
    let Fault { kind, status, stall } = fault;
    match kind {
        Kind::Before => Refusal::fault(status).as_xml(),
        Kind::After => {
            work(emulator, request).await;
            Refusal::fault(status).as_xml()
        }
        Kind::StallBefore => {
            let late = emulator.faults.late().await;
            detached(async move {
                pause(stall).await;
                let answer = work(emulator, request).await;
                drop(late);
                answer
            })
            .await
        }
        Kind::StallAfter => {
            let answer = work(emulator, request).await;
            pause(stall).await;
            answer
        }
    }
}

/// Goes on when the client hangs up.
#[expect(clippy::disallowed_methods, reason = "it has no owner: that is the fault")]
async fn detached(work: impl Future<Output = Response> + Send + 'static) -> Response {
    tokio::spawn(work).await.unwrap_or_else(|_| Refusal::fault(500).as_xml())
}

#[expect(clippy::disallowed_methods, reason = "the emulator has no clock of Tidemill's")]
async fn pause(stall: Duration) {
    tokio::time::sleep(stall).await;
}

/// `PUT` replaces the rules, `GET` tells how often each has hit, `DELETE` has ended them.
fn told(faults: &Faults, request: &Request) -> Response {
    match request.method {
        Method::PUT => match serde_json::from_slice::<Vec<Rule>>(&request.body) {
            Ok(rules) => faults.replace(rules),
            Err(error) => return Refusal::invalid(error.to_string()).as_json(),
        },
        Method::DELETE | Method::GET => {}
        _ => return Refusal::no_method().as_json(),
    }
    let rules = serde_json::to_string(&faults.rules()).unwrap_or_default();
    let mut answer = Response::new(Body::from(rules + "\n"));
    *answer.status_mut() = StatusCode::OK;
    answer
}
