//! What people ask about a project, as facts: ids, enums and instants.
//!
//! A fact has no sentence, no timezone and no line to type. The command line puts facts into words, and
//! `-o json` prints them as they are (docs/reference/json.md). A view is made of a number of queries that
//! does not grow with what the store keeps.

pub mod dags;
pub mod definitions;
pub mod instances;
pub mod needs;
pub mod next;
pub mod partitions;
pub mod runs;
mod stamp;
pub mod status;
pub mod streams;
pub mod up;

pub use stamp::Stamp;
