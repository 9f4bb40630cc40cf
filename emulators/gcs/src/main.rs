//! Google Cloud Storage over one folder, for tests: two APIs over one table of objects.
//!
//! It exists because no other emulator enforces the conditions of writes, and those are what
//! Tidemill's commits rest on. It is judged by others' code: `object_store`'s own conformance suite
//! and Google's Python client, both in `tests/`. README.md says what it does and what it doesn't.

mod condition;
mod disk;
mod fault;
mod json;
mod list;
mod object;
mod range;
mod refusal;
mod request;
mod serve;
mod state;
mod table;
mod xml;

use clap::Parser;
use object::Bucket;
use serve::Emulator;
use std::io;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use table::Table;
use tokio::net::TcpListener;

/// Google Cloud Storage over one folder, for tests
#[derive(Debug, Parser)]
struct Args {
    /// The folder; an object is the file <ROOT>/<bucket>/<name>
    root: PathBuf,
    /// Where to listen; port 0 takes a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:9023")]
    listen: SocketAddr,
    /// A bucket to make if there is none; may be given again
    #[arg(long = "bucket")]
    buckets: Vec<String>,
    /// Keep what is replaced or deleted in those buckets readable by its generation
    #[arg(long)]
    versioning: bool,
    /// Refuse a second change of an object within a second, as the service may
    #[arg(long)]
    strict: bool,
    /// End when stdin does, so that a test that is killed leaves no process
    #[arg(long)]
    until_stdin_closes: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    if args.until_stdin_closes {
        std::thread::spawn(end_with_stdin);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(args))
}

async fn run(args: Args) -> io::Result<()> {
    let table = Table::open(&args.root, args.strict, now)?;
    for name in &args.buckets {
        let versioning = args.versioning;
        let bucket = Bucket { name: name.clone(), versioning, ..Bucket::default() };
        if table.bucket(name).is_err() && table.create_bucket(bucket).is_err() {
            return Err(io::Error::other(format!("`{name}` is no name for a bucket")));
        }
    }
    let listener = TcpListener::bind(args.listen).await?;
    let address = format!("http://{}", listener.local_addr()?);
    writeln!(io::stdout(), "{address}")?;
    let emulator = Emulator {
        table,
        address,
        faults: fault::Faults::default(),
        parts: xml::Uploads::default(),
        resumable: json::Uploads::default(),
    };
    serve::serve(listener, Arc::new(emulator)).await
}

#[expect(clippy::disallowed_methods, reason = "nothing is left to do but to end")]
fn end_with_stdin() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the emulator has no clock of Tidemill's")]
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
