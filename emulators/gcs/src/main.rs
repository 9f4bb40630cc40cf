//! Google Cloud Storage over one folder, for tests.

fn main() {}
