//! What every verb prints with: the project and environment it was called for, tables, times, output.

pub mod context;
pub mod print;
pub mod screen;
