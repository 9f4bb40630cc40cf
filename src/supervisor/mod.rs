//! Starts attempts, sees them end, and stops them; it survives neither less nor more than they do.

pub mod folder;
pub mod process;
pub mod shim;
