//! The folder of an attempt: what its shim is told, and what the shim leaves behind.
//!
//! The files are the truth about processes. The daemon may be killed at any point between them: the
//! claim says whose start it was, the status that it is over, and neither is ever written twice.

use super::process::ProcessId;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::time::Micros;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What the shim starts. The child's environment is the shim's own: values that may be secret are
/// handed from process to process and never written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The program and its arguments; never a shell line.
    pub argv: Vec<String>,
    pub cwd: PathBuf,
}

/// Who may act in the folder. The first to claim it wins, so that a shim that was slow to start
/// can't begin what has been given up already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    Shim(ProcessId),
    /// A daemon found the attempt without a shim and gave it up.
    GivenUp,
}

/// How the attempt's process ended, as its parent saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub ended: Micros,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Exited(i32),
    Signalled(i32),
    /// The program could not be started; the reason.
    NotStarted(String),
}

/// `<home>/attempts/<attempt>/`.
#[derive(Clone, Debug)]
pub struct Folder {
    pub path: PathBuf,
}

impl Folder {
    pub fn of(home: &Path, attempt: &str) -> Self {
        Self { path: home.join("attempts").join(attempt) }
    }

    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Makes the folder with what is to be started; safe to repeat.
    pub fn prepare(&self, spec: &Spec) -> Result<(), Error> {
        fs::create_dir_all(&self.path)
            .map_err(|error| Error::new(ErrorKind::Input, error))
            .doing(|| format!("make the folder {}", self.path.display()))?;
        self.write("spec.json", spec)
    }

    pub fn spec(&self) -> Result<Spec, Error> {
        self.read("spec.json")?.ok_or_else(|| {
            let missing = format!("{} is missing", self.path.join("spec.json").display());
            Error::new(ErrorKind::Bug, missing)
        })
    }

    /// What the process writes to its output and error streams.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where an exec task leaves JSON for the tasks after it.
    pub fn output(&self) -> PathBuf {
        self.path.join("output.json")
    }

    /// Claims the folder unless it is claimed already; returns who holds it now.
    pub fn claim(&self, claim: Claim) -> Result<Claim, Error> {
        let draft = self.path.join(format!("claim.{}", std::process::id()));
        write_json(&draft, &claim)?;
        // A link appears whole or not at all, and never over another.
        let linked = fs::hard_link(&draft, self.path.join("claim.json"));
        drop(fs::remove_file(&draft));
        match linked {
            Ok(()) => Ok(claim),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let holder = self.claimed()?;
                holder.ok_or_else(|| Error::new(ErrorKind::Bug, "a claim has vanished"))
            }
            Err(error) => Err(Error::new(ErrorKind::Unavailable, error))
                .doing(|| format!("claim {}", self.path.display())),
        }
    }

    /// Who holds the folder. Of a claim that was copied together with a project nothing is held here.
    pub fn claimed(&self) -> Result<Option<Claim>, Error> {
        Ok(match self.read("claim.json")? {
            Some(Claim::Shim(shim)) if shim.alive() && !shim.works_in(&self.path) => {
                Some(Claim::GivenUp)
            }
            claim => claim,
        })
    }

    /// The process that the shim has started.
    pub fn child(&self) -> Result<Option<ProcessId>, Error> {
        let child: Option<ProcessId> = self.read("child.json")?;
        Ok(child.filter(|child| child.works_in(&self.path)))
    }

    pub fn put_child(&self, child: &ProcessId) -> Result<(), Error> {
        self.write("child.json", child)
    }

    pub fn status(&self) -> Result<Option<Status>, Error> {
        self.read("status.json")
    }

    pub fn put_status(&self, status: &Status) -> Result<(), Error> {
        self.write("status.json", status)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.path.join(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Error::new(ErrorKind::Unavailable, error))
                    .doing(|| format!("read {}", path.display()));
            }
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::new(ErrorKind::Data, error))
            .doing(|| format!("read {}", path.display()))
    }

    /// Whoever reads sees all of it or nothing. Not synced: after a power cut no process is left
    /// that it could speak of, and the boot id tells.
    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let draft = self.path.join(format!("{name}.{}", std::process::id()));
        write_json(&draft, value)?;
        fs::rename(&draft, self.path.join(name))
            .map_err(|error| Error::new(ErrorKind::Unavailable, error))
            .doing(|| format!("write {name} in {}", self.path.display()))
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec(value).expect("our own types have string keys");
    fs::write(path, text)
        .map_err(|error| Error::new(ErrorKind::Unavailable, error))
        .doing(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_claim_stands() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path());
        let shim = Claim::Shim(ProcessId::own().unwrap());
        assert_eq!(folder.claim(Claim::GivenUp).unwrap(), Claim::GivenUp);
        assert_eq!(folder.claim(shim).unwrap(), Claim::GivenUp);
        assert_eq!(folder.claimed().unwrap(), Some(Claim::GivenUp));
    }

    #[test]
    fn what_is_not_there_yet_reads_as_none() {
        let folder = Folder::of(Path::new("/nowhere"), "7");
        assert_eq!(folder.status().unwrap(), None);
        assert_eq!(folder.claimed().unwrap(), None);
    }
}
