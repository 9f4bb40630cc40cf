use super::*;
use crate::clock::Clock;
use crate::lake::Lake;
use crate::lake::testing::Emulator;
use crate::model::settings::LakeUrl;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode};

fn bucket(emulator: &Emulator, prefix: &str) -> Bucket {
    Bucket::open(&emulator.url(prefix), Patience::default()).unwrap()
}

async fn text(bucket: &Bucket, name: &str) -> String {
    let bytes = bucket.get(&name.into()).await.unwrap().bytes().await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_copy_refuses_what_exists_and_misses_what_does_not() {
    let Some(emulator) = Emulator::start() else { return };
    for prefix in ["", "wiki/dt=1"] {
        let bucket = bucket(&emulator, prefix);
        bucket.put_opts(&"s/a b".into(), "staged".into(), PutMode::Create.into()).await.unwrap();
        let (from, to) = (Path::from("s/a b"), Path::from("t/a=1"));
        bucket.copy_if_not_exists(&from, &to).await.unwrap();
        let refused = bucket.copy_if_not_exists(&from, &to).await.unwrap_err();
        assert!(matches!(refused, object_store::Error::AlreadyExists { .. }), "{refused}");
        bucket.delete(&from).await.unwrap();
        assert_eq!(text(&bucket, "t/a=1").await, "staged");
        let gone = bucket.copy_if_not_exists(&from, &"t/b".into()).await.unwrap_err();
        assert!(matches!(gone, object_store::Error::NotFound { .. }), "{gone}");
        let listed: Vec<_> = bucket.list(None).try_collect().await.unwrap();
        assert!(listed.iter().any(|meta| meta.location == to), "{listed:?}");
        bucket.delete(&to).await.unwrap();
    }
}

#[tokio::test]
async fn a_delete_takes_only_the_generation_that_it_names() {
    let Some(emulator) = Emulator::start() else { return };
    let bucket = bucket(&emulator, "wiki");
    let path = Path::from("t/a");
    let first = bucket.put(&path, "first".into()).await.unwrap().version.unwrap();
    let second = bucket.put(&path, "second".into()).await.unwrap().version.unwrap();
    let refused = bucket.delete_if(&path, &first).await.unwrap_err();
    assert!(matches!(refused, object_store::Error::Precondition { .. }), "{refused}");
    bucket.delete_if(&path, &second).await.unwrap();
    let gone = bucket.delete_if(&path, &second).await.unwrap_err();
    assert!(matches!(gone, object_store::Error::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn what_takes_no_condition_is_refused() {
    let Some(emulator) = Emulator::start() else { return };
    let bucket = bucket(&emulator, "");
    let unsupported = |error| matches!(error, object_store::Error::NotImplemented { .. });
    assert!(unsupported(bucket.copy(&"a".into(), &"b".into()).await.unwrap_err()));
    assert!(unsupported(bucket.rename(&"a".into(), &"b".into()).await.unwrap_err()));
}

#[tokio::test]
async fn an_object_that_comes_in_parts_is_there_when_it_is_whole() {
    let Some(emulator) = Emulator::start() else { return };
    let bucket = bucket(&emulator, "");
    let mut upload = bucket.put_multipart(&"a".into()).await.unwrap();
    upload.put_part("one ".into()).await.unwrap();
    upload.put_part("two".into()).await.unwrap();
    let missing = bucket.head(&"a".into()).await.unwrap_err();
    assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");
    upload.complete().await.unwrap();
    let got = bucket.get(&"a".into()).await.unwrap().bytes().await.unwrap();
    assert_eq!(got, "one two");
}

#[tokio::test]
async fn a_lake_in_a_bucket_is_made_once_and_keeps_its_id() {
    let Some(emulator) = Emulator::start() else { return };
    let url = LakeUrl::Bucket(emulator.url("wiki"));
    let project = "wiki".parse().unwrap();
    assert!(Lake::find(&url, &project, Clock::system()).await.unwrap().is_none());
    let open = || Lake::open(&url, &project, Clock::system());
    let opened = futures::future::join_all((0..4).map(|_| open())).await;
    let ids: Vec<_> = opened.into_iter().map(|lake| lake.unwrap().id().to_owned()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let found = Lake::find(&url, &project, Clock::system()).await.unwrap().unwrap();
    assert_eq!(found.id(), ids[0]);
    assert_eq!(found.address("raw/a").as_deref(), Some("gs://lake/wiki/raw/a"));
    assert!(emulator.files("wiki/_tidemill/lake.json").exists());
    let error = Lake::open(&url, &"shop".parse().unwrap(), Clock::system()).await.unwrap_err();
    assert!(error.to_string().contains("it belongs to project `wiki`"), "{error}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_with_a_remedy() {
    let Some(emulator) = Emulator::start() else { return };
    let url = LakeUrl::Bucket(LakeBucket { name: "nowhere".into(), ..emulator.url("") });
    let error = Lake::open(&url, &"wiki".parse().unwrap(), Clock::system()).await.unwrap_err();
    assert!(error.to_string().starts_with("open the lake gs://nowhere: "), "{error}");
    assert!(error.remedy.unwrap().contains("bucket exists"));
}

#[test]
fn a_key_file_that_is_not_there_is_told_with_a_remedy() {
    let bucket = LakeBucket {
        name: "lake".into(),
        prefix: String::new(),
        endpoint: None,
        credentials: Some("/nowhere/key.json".into()),
    };
    let error = Bucket::open(&bucket, Patience::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Input);
    assert!(error.remedy.is_some());
}
