//! Reads `[lake]`: a folder or a bucket, and how a bucket is reached.

use super::problem::{At, Problem, Sink};
use super::section::Section;
use super::value::{address, key_file, url};
use crate::model::settings::{LakeBucket, LakeUrl};
use std::path::Path;

const BUCKET: &str = "gs://";

const KEY_HELP: &str = "write { file = \"/run/secrets/lake.json\" }, or leave it out: then they are those of \
                        GOOGLE_APPLICATION_CREDENTIALS, of `gcloud auth application-default login`, or of the machine";

/// `None` with at least one problem in the section's sink.
pub fn read(section: Option<Section<'_>>, root: &Path, home: &Path) -> Option<LakeUrl> {
    let own = || Some(home.join("lake"));
    let Some(mut section) = section else { return own().map(LakeUrl::Folder) };
    let in_bucket = section.unasked_text("url").is_some_and(|url| url.starts_with(BUCKET));
    if in_bucket {
        let bucket = bucket(&mut section, root);
        section.finish();
        return bucket.map(LakeUrl::Bucket);
    }
    for key in ["endpoint", "credentials"] {
        if let Some(entry) = section.take(key) {
            let title = format!("a lake in a folder has no setting `{key}`");
            let help = "leave it out, or write url = \"gs://BUCKET\"";
            section.sink().push(Problem::error(title, &entry.key_place).help(help));
        }
    }
    let folder = url(&mut section, "file:", "file:.tidemill/lake\" or \"gs://BUCKET", root);
    section.finish();
    Some(LakeUrl::Folder(folder.unwrap_or_else(own)?))
}

fn bucket(section: &mut Section<'_>, root: &Path) -> Option<LakeBucket> {
    let url = section.text("url")?;
    let endpoint = section.text("endpoint");
    let credentials = section.take("credentials").map(|entry| &entry.node);
    let sink = section.sink();
    let endpoint = endpoint.map(|written| address(&written, "http://127.0.0.1:9023", sink));
    let credentials = credentials.map(|node| key_file(node, root, KEY_HELP, sink));
    let (name, prefix) = named(&url, sink)?;
    // Outer `None`: not written; inner: written wrongly, and told.
    Some(LakeBucket {
        name,
        prefix,
        endpoint: match endpoint {
            Some(endpoint) => Some(endpoint?),
            None => None,
        },
        credentials: match credentials {
            Some(credentials) => Some(credentials?),
            None => None,
        },
    })
}

/// The bucket and the prefix of `gs://bucket/prefix`.
fn named(url: &At<String>, sink: &Sink) -> Option<(String, String)> {
    let path = url.value.strip_prefix(BUCKET)?;
    let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let named = (3..=222).contains(&name.len())
        && name.chars().all(|c| letter(c) || "-_.".contains(c))
        && name.starts_with(letter)
        && name.ends_with(letter);
    let prefix = prefix.trim_end_matches('/');
    let plain = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
    };
    if named && (prefix.is_empty() || prefix.split('/').all(plain)) {
        return Some((name.to_owned(), prefix.to_owned()));
    }
    let title = format!("`{}` names no bucket", url.value);
    let help = "write \"gs://BUCKET\" or \"gs://BUCKET/FOLDER\"";
    sink.push(Problem::error(title, &url.place).help(help));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};
    use std::fs;
    use std::path::PathBuf;

    /// The lake that `settings` tell of, from the folder that they lie in, or what is wrong.
    fn lake(settings: &str) -> Result<(LakeUrl, PathBuf), String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tidemill.toml"), settings).unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let loaded = load(&root, None, &Environment::default());
        let loaded = loaded.map_err(|problems| problems.to_string())?;
        Ok((loaded.project.settings.lake, root))
    }

    #[test]
    fn a_bucket_names_its_part_and_how_it_is_reached() {
        let settings = r#"[lake]
url = "gs://acme-lake/wiki/raw/"
endpoint = "http://127.0.0.1:9023/"
credentials = { file = "keys/lake.json" }
"#;
        let (LakeUrl::Bucket(bucket), root) = lake(settings).unwrap() else {
            panic!("it is no folder")
        };
        assert_eq!(bucket.to_string(), "gs://acme-lake/wiki/raw");
        assert_eq!(bucket.endpoint.as_deref(), Some("http://127.0.0.1:9023"));
        assert_eq!(bucket.credentials, Some(root.join("keys/lake.json")));
    }

    #[test]
    fn a_folder_takes_no_endpoint() {
        let settings = "lake = { url = \"file:lake\", endpoint = \"http://127.0.0.1:9023\" }";
        let problems = lake(settings).unwrap_err();
        assert!(problems.contains("a lake in a folder has no setting `endpoint`"), "{problems}");
    }
}
