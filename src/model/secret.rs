//! Secrets, named by where they are found: a project never holds a secret itself.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A setting or an environment variable that may be a secret; it is resolved at launch only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    Text(String),
    Secret(Secret),
}

/// Where a secret is found when it is needed; never its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    Env(String),
    File(PathBuf),
}
