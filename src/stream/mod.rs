//! A stream: from a topic to the files of a table, each offset once.

pub mod decode;
pub mod progress;
