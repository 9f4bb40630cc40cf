use super::*;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// A clock that tells another second each time.
fn now() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(1_000_000_000);
    NOW.fetch_add(2_000_000, Ordering::Relaxed)
}

fn open(folder: &TempDir) -> Table {
    let table = Table::open(folder.path(), false, now).unwrap();
    let _ = table.create_bucket(Bucket { name: "lake".into(), ..Bucket::default() });
    table
}

fn place(name: &str) -> Place {
    Place { bucket: "lake".into(), name: name.into() }
}

fn source(name: &str) -> Source {
    Source { place: place(name), generation: None, condition: Condition::default() }
}

fn target(name: &str, generation: Option<u64>) -> Target {
    let condition = Condition { generation, ..Condition::default() };
    Target { place: place(name), condition, metadata: None }
}

fn text(table: &Table, name: &str) -> Result<String, u16> {
    let read = table.read(&source(name), |object| Ok(0..object.size));
    let text = |(_, _, bytes): (Object, Range<u64>, Bytes)| String::from_utf8(bytes.to_vec());
    read.map(|read| text(read).unwrap()).map_err(|refusal| refusal.status)
}

#[test]
fn a_refused_write_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(&folder);
    let first = table.put(&target("a", Some(0)), b"first").unwrap();
    assert_eq!(table.put(&target("a", Some(0)), b"second").unwrap_err().status, 412);
    assert_eq!(text(&table, "a").unwrap(), "first");
    let second = table.put(&target("a", Some(first.generation)), b"second").unwrap();
    assert!(second.generation > first.generation);
    assert_eq!(table.put(&target("a", Some(first.generation)), b"3").unwrap_err().status, 412);
}

#[test]
fn copies_and_moves_are_refused_by_the_same_conditions() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(&folder);
    table.put(&target("a", None), b"a").unwrap();
    table.put(&target("b", None), b"b").unwrap();
    for moves in [false, true] {
        let copied = table.copy(&source("a"), &target("b", Some(0)), moves);
        assert_eq!(copied.unwrap_err().status, 412);
    }
    assert_eq!((text(&table, "a"), text(&table, "b")), (Ok("a".into()), Ok("b".into())));
    table.copy(&source("a"), &target("c", Some(0)), true).unwrap();
    assert_eq!((text(&table, "a"), text(&table, "c")), (Err(404), Ok("a".into())));
    assert_eq!(table.compose(&[source("b")], &target("c", Some(0))).unwrap_err().status, 412);
    table.compose(&[source("b"), source("c")], &target("d", Some(0))).unwrap();
    assert_eq!(text(&table, "d"), Ok("ba".into()));
}

#[test]
fn a_restart_forgets_nothing_and_goes_on_numbering() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(&folder);
    let before = table.put(&target("x/a", None), b"a").unwrap();
    table.put(&target("x/b", None), b"b").unwrap();
    table.delete(&source("x/b")).unwrap();
    drop(table);
    let table = open(&folder);
    assert_eq!(table.find(&source("x/a")).unwrap(), before);
    assert_eq!(text(&table, "x/b"), Err(404));
    assert!(table.put(&target("x/c", None), b"c").unwrap().generation > before.generation);
}

#[test]
fn other_programs_read_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(&folder);
    table.put(&target("t/dt=1/a.parquet", None), b"one").unwrap();
    table.put(&target("t/dt=1/a.parquet", None), b"two").unwrap();
    let file = folder.path().join("lake/t/dt=1/a.parquet");
    assert_eq!(fs::read_to_string(&file).unwrap(), "two");
    table.delete(&source("t/dt=1/a.parquet")).unwrap();
    assert_eq!(fs::read_dir(folder.path().join("lake")).unwrap().count(), 0);
}

#[test]
fn a_name_that_no_file_can_have_is_an_object_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(&folder);
    for name in ["a", "a/b", "../x", "c//d", "e/"] {
        table.put(&target(name, None), name.as_bytes()).unwrap();
    }
    drop(table);
    let table = open(&folder);
    for name in ["a", "a/b", "../x", "c//d", "e/"] {
        assert_eq!(text(&table, name).unwrap(), name);
    }
    assert!(!folder.path().join("x").exists());
}

#[test]
fn a_second_change_within_a_second_is_refused_if_asked_for() {
    fn still() -> u64 {
        5
    }
    let folder = tempfile::tempdir().unwrap();
    let table = Table::open(folder.path(), true, still).unwrap();
    table.create_bucket(Bucket { name: "lake".into(), ..Bucket::default() }).unwrap();
    table.put(&target("a", None), b"1").unwrap();
    assert_eq!(table.put(&target("a", None), b"2").unwrap_err().status, 429);
    table.put(&target("b", None), b"1").unwrap();
}
