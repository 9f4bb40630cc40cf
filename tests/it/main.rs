//! The tests that start processes; one binary, so that it is linked once.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod bed;
mod broker;
mod cli;
mod conformance;
mod daemon;
mod demo;
mod golden;
mod servers;
mod shim;
mod topic_log;
