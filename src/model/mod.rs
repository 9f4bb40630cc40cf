//! The nouns of Tidemill, valid by construction and without any I/O.

pub mod column;
pub mod commit;
pub mod dag;
pub mod duration;
pub mod finding;
pub mod hive;
pub mod instance;
pub mod job;
pub mod name;
pub mod run;
pub mod settings;
pub mod template;
pub mod time;
pub mod topic;
