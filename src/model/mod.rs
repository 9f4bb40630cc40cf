//! The nouns of Tidemill, valid by construction and without any I/O.

pub mod accepted;
pub mod attempt;
pub mod closing;
pub mod column;
pub mod commit;
pub mod dag;
#[cfg(test)]
mod day_tests;
pub mod due;
pub mod duration;
pub mod file;
pub mod finding;
pub mod hive;
pub mod instance;
pub mod job;
pub mod load;
pub mod mark;
pub mod moment;
pub mod name;
pub mod problem;
pub mod project;
pub mod request;
pub mod run;
pub mod schema;
pub mod secret;
pub mod settings;
mod states;
pub mod stored;
pub mod stream;
pub mod table;
pub mod task;
pub mod template;
pub mod time;
pub mod topic;
pub mod zone;

#[cfg(test)]
mod formats_tests;
