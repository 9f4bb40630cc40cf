//! A file that one part of Tidemill has written and hands over to others.

use std::path::PathBuf;

/// A file on this machine that is whole and does not change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFile {
    pub path: PathBuf,
    pub bytes: u64,
    /// SHA-256 of all bytes, as 64 hexadecimal digits.
    pub checksum: String,
}

#[cfg(test)]
pub(crate) mod testing {
    use super::LocalFile;
    use crate::checksum::Checksum;
    use std::fs;
    use std::path::Path;
    use uuid::Uuid;

    /// A file of these bytes in a folder that all tests share, under a name that tells its content.
    pub fn local_file(bytes: impl AsRef<[u8]>) -> LocalFile {
        local_file_in(&std::env::temp_dir().join("tidemill-tests"), bytes)
    }

    pub fn local_file_in(folder: &Path, bytes: impl AsRef<[u8]>) -> LocalFile {
        let bytes = bytes.as_ref();
        let checksum = Checksum::of(bytes);
        let written = folder.join(Uuid::new_v4().simple().to_string());
        fs::create_dir_all(folder).unwrap();
        fs::write(&written, bytes).unwrap();
        // Another test may be reading the file of that name.
        let path = folder.join(&checksum);
        fs::rename(&written, &path).unwrap();
        LocalFile { path, bytes: bytes.len() as u64, checksum }
    }
}
