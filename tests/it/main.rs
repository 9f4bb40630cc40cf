//! The tests that start processes; one binary, so that it is linked once.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![expect(clippy::print_stdout, reason = "shown with the test when it fails")]

mod answers;
mod bed;
mod bigquery;
mod bigquery_calls;
mod broker;
mod chaos;
mod chaos_clock;
mod chaos_disk;
mod chaos_events;
mod chaos_fates;
mod chaos_servers;
mod cli;
mod conformance;
mod crash_points;
mod daemon;
mod ddl;
mod demo;
mod doctor;
mod golden;
mod groups;
mod growth;
mod kills;
mod landing;
mod late;
mod lister;
mod on_close;
mod project;
mod rights;
mod secure;
mod servers;
mod shim;
mod storage;
mod tables;
mod three_brokers;
mod topic_life;
mod topic_log;
mod upgrade;
mod varied;
mod warehouse;
mod wikimedia;
