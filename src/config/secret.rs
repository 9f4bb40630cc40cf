//! Finds the value of a secret when it is needed; it is kept nowhere.

use super::Environment;
use crate::error::{Doing, Error, ErrorKind};
use crate::model::secret::Secret;
use std::fs;
use std::path::Path;

impl Environment {
    /// The value as it is now; `Input` if there is none. A relative file starts at `root`, the folder of
    /// `tidemill.toml`.
    pub fn secret(&self, root: &Path, secret: &Secret) -> Result<String, Error> {
        match secret {
            Secret::Env(name) => self.get(name).map(str::to_owned).ok_or_else(|| {
                Error::new(ErrorKind::Input, format!("the environment has no {name}"))
                    .remedy(format!("set {name} where tidemill is started, and start it anew"))
            }),
            Secret::File(path) => fs::read_to_string(root.join(path))
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| Error::new(ErrorKind::Input, error))
                .doing(|| format!("read the secret in {}", root.join(path).display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_the_environment_or_a_file_without_its_newline() {
        let environment = Environment::from([("TOKEN", "abc")]);
        assert_eq!(
            environment.secret(Path::new("/"), &Secret::Env("TOKEN".into())).unwrap(),
            "abc"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(path, "xyz\n").unwrap();
        assert_eq!(
            environment.secret(folder.path(), &Secret::File("token".into())).unwrap(),
            "xyz"
        );
    }

    #[test]
    fn a_missing_secret_is_named() {
        let error = Environment::default()
            .secret(Path::new("/"), &Secret::Env("TOKEN".into()))
            .unwrap_err();
        assert_eq!(error.to_string(), "the environment has no TOKEN");
    }
}
