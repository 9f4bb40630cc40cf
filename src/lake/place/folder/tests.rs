use super::*;
use object_store::ObjectStoreExt;
use std::process::Command;
use tempfile::TempDir;

fn disk() -> (TempDir, Folder) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::open(folder.path()).unwrap();
    (folder, disk)
}

async fn create(disk: &Folder, name: &str, text: &str) -> Result<PutResult> {
    disk.put_opts(&name.into(), text.to_owned().into(), PutMode::Create.into()).await
}

async fn text(disk: &Folder, name: &str) -> String {
    let bytes = disk.get(&name.into()).await.unwrap().bytes().await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Every file under `folder`, as a plain lister finds them.
fn files(folder: &FilePath) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_create_refuses_what_exists_and_leaves_it() {
    let (folder, disk) = disk();
    create(&disk, "t/a", "first").await.unwrap();
    let refused = create(&disk, "t/a", "second").await.unwrap_err();
    assert!(matches!(refused, object_store::Error::AlreadyExists { .. }), "{refused}");
    assert_eq!(text(&disk, "t/a").await, "first");
    let scratch = files(&folder.path().join(paths::LOCAL));
    assert_eq!(scratch.len(), 1, "only the lock: {scratch:?}");
}

#[tokio::test]
async fn a_copy_refuses_what_exists_and_misses_what_does_not() {
    let (_folder, disk) = disk();
    create(&disk, "s/a", "staged").await.unwrap();
    let (from, to) = (Path::from("s/a"), Path::from("t/a"));
    disk.copy_if_not_exists(&from, &to).await.unwrap();
    let refused = disk.copy_if_not_exists(&from, &to).await.unwrap_err();
    assert!(matches!(refused, object_store::Error::AlreadyExists { .. }), "{refused}");
    disk.delete(&from).await.unwrap();
    assert_eq!(text(&disk, "t/a").await, "staged");
    let gone = disk.copy_if_not_exists(&from, &"t/b".into()).await.unwrap_err();
    assert!(matches!(gone, object_store::Error::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn a_put_replaces_the_whole_object() {
    let (_folder, disk) = disk();
    for round in ["a long first one", "second"] {
        disk.put(&"t/a".into(), round.into()).await.unwrap();
        assert_eq!(text(&disk, "t/a").await, round);
    }
}

#[tokio::test]
async fn an_empty_folder_that_somebody_removed_is_made_again() {
    let (folder, disk) = disk();
    create(&disk, "t/x/a", "a").await.unwrap();
    fs::remove_dir_all(folder.path().join("t")).unwrap();
    create(&disk, "t/x/a", "again").await.unwrap();
    assert_eq!(text(&disk, "t/x/a").await, "again");
}

#[tokio::test]
async fn listings_show_no_temporaries() {
    let (_folder, disk) = disk();
    create(&disk, "_tidemill/lake.json", "{}").await.unwrap();
    let listed: Vec<ObjectMeta> = disk.list(None).try_collect().await.unwrap();
    let names: Vec<&str> = listed.iter().map(|meta| meta.location.as_ref()).collect();
    assert_eq!(names, ["_tidemill/lake.json"]);
    let ours = disk.list_with_delimiter(Some(&"_tidemill".into())).await.unwrap();
    assert!(ours.common_prefixes.is_empty(), "{ours:?}");
}

#[tokio::test]
async fn a_living_process_keeps_its_scratch_and_a_dead_one_is_swept() {
    let (folder, disk) = disk();
    create(&disk, "a", "a").await.unwrap();
    let scratch = folder.path().join(paths::LOCAL).join("scratch");
    let dead = scratch.join("dead");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    fs::write(dead.join("half"), "half an obj").unwrap();
    let other = Folder::open(folder.path()).unwrap();
    create(&other, "b", "b").await.unwrap();
    assert!(!dead.exists());
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 2, "one for each of us");
    create(&disk, "c", "c").await.unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Folder::open(&file.join("lake")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Input);
    assert!(error.remedy.is_some());
}

/// Writers are killed in the middle of large puts, while a plain lister looks on.
#[test]
fn a_plain_lister_never_sees_half_an_object_through_kill_9() {
    const BYTES: u64 = 8 << 20;
    if let Some(folder) = child_folder() {
        return write_for_ever(&folder, BYTES);
    }
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("t");
    for kill in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("lake::place::folder::tests::a_plain_lister_never_sees_half_an_object_through_kill_9")
            .env(CHILD, folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Killed at no chosen moment: when one more object is there, the next is being written.
        while files(&table).len() <= kill {
            for file in files(&table) {
                assert_eq!(fs::metadata(&file).unwrap().len(), BYTES, "{}", file.display());
            }
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for file in files(&table) {
        assert_eq!(fs::metadata(&file).unwrap().len(), BYTES, "{}", file.display());
    }
}

const CHILD: &str = "TIDEMILL_TEST_DISK_CHILD";

#[expect(clippy::disallowed_methods, reason = "a test that starts itself as another process")]
fn child_folder() -> Option<PathBuf> {
    std::env::var(CHILD).ok().map(PathBuf::from)
}

fn write_for_ever(folder: &FilePath, bytes: u64) {
    let disk = Folder::open(folder).unwrap();
    let content = Bytes::from(vec![7; usize::try_from(bytes).unwrap()]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..100 {
        let name = Path::from(format!("t/{}", uuid::Uuid::new_v4().simple()));
        let put = disk.put_opts(&name, content.clone().into(), PutMode::Create.into());
        runtime.block_on(put).unwrap();
    }
}

#[tokio::test]
async fn an_object_that_comes_in_parts_is_there_when_it_is_whole() {
    let (folder, disk) = disk();
    let mut upload = disk.put_multipart(&"t/a".into()).await.unwrap();
    // Parts may be written in another order than that in which they were given.
    let (first, second) = (upload.put_part("one ".into()), upload.put_part("two".into()));
    second.await.unwrap();
    first.await.unwrap();
    let missing = disk.head(&"t/a".into()).await.unwrap_err();
    assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");
    upload.complete().await.unwrap();
    assert_eq!(text(&disk, "t/a").await, "one two");

    let mut given_up = disk.put_multipart(&"t/b".into()).await.unwrap();
    given_up.put_part("half".into()).await.unwrap();
    given_up.abort().await.unwrap();
    let scratch = files(&folder.path().join(paths::LOCAL));
    assert_eq!(scratch.len(), 1, "only the lock: {scratch:?}");
}
