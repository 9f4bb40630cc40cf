//! Tidemill: from Kafka to closed hours in the warehouse, in one binary.
//!
//! The modules stand in the order of their layers; ARCHITECTURE.md says who may use whom, and
//! `tests/tidy.rs` checks it.

pub mod error;

pub mod backoff;
pub mod checksum;
pub mod clock;
pub mod crash;
pub mod ping;
pub mod services;
pub mod telemetry;

pub mod model;

pub mod store;

pub mod config;

pub mod lake;

pub mod kafka;
pub mod sql;
pub mod stream;
pub mod warehouse;

pub mod batch;

pub mod feed;

pub mod check;

pub mod scheduler;
pub mod view;

pub mod supervisor;
pub mod worker;

#[cfg(test)]
mod model_check;

pub mod daemon;

pub mod terminal;

pub mod demo;

pub mod cli;
