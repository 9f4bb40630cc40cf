//! Finds circles: files or folders of one folder that use each other.
//!
//! `mod.rs` is the face of its folder: it and its children may use each other. A name that the face
//! passes on with `pub use` belongs to the child that has it. Tests may use what they test and what
//! it uses, so a module that is compiled only for tests closes no circle.

#![expect(clippy::unwrap_used, reason = "a failed read is a failed check")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module's path below `src`: `["lake", "commit"]`.
type Module = Vec<String>;

/// Who uses whom within one folder, each use with its places.
type Uses = BTreeMap<(String, String), BTreeSet<String>>;

struct File {
    path: PathBuf,
    module: Module,
    uses: Vec<Vec<String>>,
    /// Names it passes on, each with the path behind it.
    passes_on: BTreeMap<String, Vec<String>>,
    /// Its children that are compiled only for tests.
    tests: Vec<Module>,
}

/// Each circle as a text that names its members and what ties them.
pub fn circles(files: &[PathBuf]) -> Vec<String> {
    let files: Vec<File> = files.iter().map(|path| read(path)).collect();
    let by_module: BTreeMap<&Module, &File> =
        files.iter().map(|file| (&file.module, file)).collect();
    let mut folders: BTreeMap<Module, Uses> = BTreeMap::new();
    let tests: Vec<&Module> = files.iter().flat_map(|file| &file.tests).collect();
    let is_test = |file: &&File| tests.iter().any(|test| file.module.starts_with(test));
    for file in files.iter().filter(|file| !is_test(file)) {
        for used in &file.uses {
            let Some(target) = resolve(used, &by_module) else { continue };
            if let Some((folder, pair)) = siblings(file, target) {
                let place = format!("{} uses {}", file.path.display(), target.path.display());
                folders.entry(folder).or_default().entry(pair).or_default().insert(place);
            }
        }
    }
    folders.iter().flat_map(|(folder, uses)| in_folder(folder, uses)).collect()
}

fn read(path: &Path) -> File {
    let mut module: Module = path
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect();
    let is_face = ["mod", "lib"].contains(&module.last().unwrap().as_str());
    if is_face {
        module.pop();
    }
    let text = code(&fs::read_to_string(path).unwrap());
    let mut uses = Vec::new();
    let mut passes_on = BTreeMap::new();
    for (statement, is_public) in use_statements(&text) {
        for tree in flatten(&statement) {
            let (path, name) = match tree.split_once(" as ") {
                Some((path, name)) => (path.trim().to_owned(), name.trim().to_owned()),
                None => (tree.clone(), tree.rsplit("::").next().unwrap().to_owned()),
            };
            let Some(absolute) = absolute(&path, &module, is_face) else { continue };
            if is_public {
                passes_on.insert(name, absolute.clone());
            }
            uses.push(absolute);
        }
    }
    uses.extend(inline_paths(&text).iter().filter_map(|used| absolute(used, &module, is_face)));
    let tests = test_modules(&text).into_iter().map(|name| module.iter().cloned().chain([name]));
    let tests = tests.map(Iterator::collect).collect();
    File { path: path.to_owned(), module, uses, passes_on, tests }
}

/// The names behind `#[cfg(test)] mod`.
fn test_modules(text: &str) -> Vec<String> {
    let declared = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| {
        let line = rest.lines().find(|line| !line.starts_with("#["))?;
        let (before, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
        (before.is_empty() || before.starts_with("pub")).then(|| name.to_owned())
    });
    declared.collect()
}

/// The text without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What stands between `use` and `;`, and whether it is passed on.
fn use_statements(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut open: Option<(String, bool)> = None;
    for line in text.lines() {
        if open.is_none() {
            let line = line.trim_start();
            let is_public = line.starts_with("pub");
            let rest = line.split_once("use ").filter(|(before, _)| {
                before.is_empty() || before.starts_with("pub") && before.ends_with(' ')
            });
            let Some((_, rest)) = rest else { continue };
            open = Some((rest.to_owned(), is_public));
        } else if let Some((statement, _)) = &mut open {
            statement.push_str(line);
        }
        if open.as_ref().is_some_and(|(statement, _)| statement.contains(';')) {
            let (statement, is_public) = open.take().unwrap();
            found.push((statement.split(';').next().unwrap().to_owned(), is_public));
        }
    }
    found
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn flatten(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, rest)) = tree.split_once('{') else {
        return if tree.is_empty() { Vec::new() } else { vec![tree.to_owned()] };
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in inner.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(letter);
        }
    }
    let inner = parts.iter().flat_map(|part| flatten(part));
    inner.map(|inner| format!("{}{inner}", before.trim())).collect()
}

/// Paths in code that begin at the crate or at the parent.
fn inline_paths(text: &str) -> Vec<String> {
    let of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    text.split(|c: char| !of_path(c))
        .filter(|word| word.starts_with("crate::") || word.starts_with("super::"))
        .map(|word| word.trim_end_matches(':').to_owned())
        .collect()
}

/// The path from the crate's root; none if it leads out of the crate.
fn absolute(path: &str, module: &Module, is_face: bool) -> Option<Vec<String>> {
    let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
    let mut base: Vec<String> = match parts[0].as_str() {
        "crate" => Vec::new(),
        "self" => module.clone(),
        "super" => module[..module.len() - 1].to_vec(),
        // In a face, a bare name is a child or another crate.
        _ if is_face => return Some(module.iter().cloned().chain(parts).collect()),
        _ => return None,
    };
    parts.remove(0);
    while parts.first().is_some_and(|part| part == "super") {
        parts.remove(0);
        base.pop();
    }
    base.extend(parts);
    Some(base)
}

/// The file that has what `path` names.
fn resolve<'a>(path: &[String], by_module: &BTreeMap<&Module, &'a File>) -> Option<&'a File> {
    let known = (1..=path.len()).rev().find(|n| by_module.contains_key(&path[..*n].to_vec()))?;
    let file = by_module[&path[..known].to_vec()];
    let passed_on = path.get(known).and_then(|name| file.passes_on.get(name));
    match passed_on {
        Some(behind) if behind.as_slice() != path => resolve(behind, by_module).or(Some(file)),
        _ => Some(file),
    }
}

/// The folder in which two files part, and what stands there for each; none below `src` itself,
/// whose order is that of the layers, and none where one of them is the folder's face.
fn siblings(from: &File, to: &File) -> Option<(Module, (String, String))> {
    let shared = from.module.iter().zip(&to.module).take_while(|(a, b)| a == b).count();
    let (from_at, to_at) = (from.module.get(shared)?, to.module.get(shared)?);
    let folder = from.module[..shared].to_vec();
    (shared > 0).then(|| (folder, (from_at.clone(), to_at.clone())))
}

fn in_folder(folder: &Module, uses: &Uses) -> Vec<String> {
    let reached = |start: &str| {
        let mut seen = BTreeSet::new();
        let mut ahead = vec![start.to_owned()];
        while let Some(at) = ahead.pop() {
            for (_, to) in uses.keys().filter(|(from, _)| *from == at) {
                if seen.insert(to.clone()) {
                    ahead.push(to.clone());
                }
            }
        }
        seen
    };
    let members: BTreeSet<&String> = uses.keys().map(|(from, _)| from).collect();
    let reach: BTreeMap<&String, BTreeSet<String>> =
        members.iter().map(|member| (*member, reached(member))).collect();
    let circle = |member: &String| -> Vec<&String> {
        let both =
            |other: &&&String| reach[member].contains(**other) && reach[**other].contains(member);
        members.iter().filter(both).copied().collect()
    };
    let circles: BTreeSet<Vec<&String>> =
        members.iter().map(|member| circle(member)).filter(|circle| circle.len() > 1).collect();
    let told = |circle: &Vec<&String>| {
        let within =
            |(from, to): &&(String, String)| circle.contains(&from) && circle.contains(&to);
        let ties = uses.keys().filter(within).flat_map(|pair| &uses[pair]);
        let ties: Vec<String> = ties.map(|tie| format!("  {tie}")).collect();
        let names: Vec<&str> = circle.iter().map(|name| name.as_str()).collect();
        format!(
            "src/{}: {} use each other:\n{}",
            folder.join("/"),
            names.join(", "),
            ties.join("\n")
        )
    };
    circles.iter().map(told).collect()
}
