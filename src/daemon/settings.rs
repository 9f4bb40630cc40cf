//! Which settings differ from those that the daemon began with.
//!
//! The daemon opens its lake, its store and its slots once; what is edited then counts from its next
//! start, and until then it says so rather than mix two states of the file.

use crate::model::settings::Settings;
use serde_json::Value;

/// The names of the settings that differ: `limits.parallelism`, `lake`.
pub fn changed(before: &Settings, now: &Settings) -> Vec<String> {
    let value = |settings| serde_json::to_value(settings).expect("settings have text keys");
    let mut names = Vec::new();
    compare("", &value(before), &value(now), &mut names);
    names
}

/// One level of sections, as the file has them; a deeper change is reported by its section.
fn compare(section: &str, before: &Value, now: &Value, names: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(now)) = (before, now) else { return };
    for (name, old) in before {
        let new = now.get(name);
        if Some(old) == new {
            continue;
        }
        match (section, name.as_str(), new) {
            ("", "limits", Some(new)) => compare("limits", old, new, names),
            ("", "home", _) => {} // Follows from the environment.
            ("", _, _) => names.push(name.clone()),
            (section, _, _) => {
                let name = name.strip_suffix("_bytes").unwrap_or(name);
                names.push(format!("{section}.{name}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn settings(text: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tidemill.toml"), text).unwrap();
        let loaded = crate::config::load(folder.path(), None, &Environment::default()).unwrap();
        let mut settings = loaded.project.settings;
        // Paths of two folders differ.
        settings.home = "/project/.tidemill".into();
        settings.state = "/project/.tidemill/state.db".into();
        settings
    }

    #[test]
    fn what_differs_is_named_as_the_file_names_it() {
        let before = settings("");
        let mut now = before.clone();
        assert_eq!(changed(&before, &now), Vec::<String>::new());
        now.limits.parallelism += 1;
        now.limits.batch_memory_bytes += 1;
        now.state = "/elsewhere.db".into();
        assert_eq!(changed(&before, &now), ["limits.batch_memory", "limits.parallelism", "state"]);
    }
}
