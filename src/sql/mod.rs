//! SQL, by DataFusion, which no other module sees.
//!
//! [`expr`] compiles the one-row expressions of topics: computed columns and expectations. Whatever
//! is wrong with a text comes back as a [`problem::SqlProblem`], which knows the place in that text.

pub mod expr;
pub mod problem;
pub mod types;
