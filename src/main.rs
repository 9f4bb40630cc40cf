//! Parses the command line, runs the verb, maps the error's kind to the exit code.

fn main() {}
