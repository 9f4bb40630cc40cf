use super::testing::crash_at_every_call;
use super::*;
use object_store::ObjectStoreExt;
use std::sync::Mutex;
use tempfile::TempDir;

async fn open(folder: &TempDir, project: &str) -> Result<Lake, Error> {
    let url = LakeUrl::Folder(folder.path().join("lake"));
    Lake::open(&url, &project.parse().unwrap(), Clock::system()).await
}

#[tokio::test]
async fn a_lake_is_made_once_and_keeps_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let opened = futures::future::join_all((0..4).map(|_| open(&folder, "wiki"))).await;
    let ids: Vec<String> = opened.into_iter().map(|lake| lake.unwrap().id().to_owned()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(open(&folder, "wiki").await.unwrap().id(), ids[0]);
}

#[tokio::test]
async fn a_lake_that_is_made_through_any_crash_has_one_id() {
    let make = async || {
        let lake = testing::memory().await;
        lake.delete(&paths::lake_identity()).await.unwrap();
        (lake, Arc::new(Mutex::new(String::new())))
    };
    let work = async |lake: Lake, told: Arc<Mutex<String>>| {
        let id = lake.identify(&"wiki".parse().unwrap()).await?;
        *told.lock().unwrap() = id;
        Ok(())
    };
    crash_at_every_call(make, work, async |lake, told| {
        let id = lake.identify(&"wiki".parse().unwrap()).await.unwrap();
        let told = told.lock().unwrap();
        assert!(told.is_empty() || *told == id, "{told} and {id}");
    })
    .await;
}

#[tokio::test]
async fn the_lake_of_another_project_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder, "wiki").await.unwrap();
    let error = open(&folder, "shop").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Input);
    assert!(error.to_string().ends_with("it belongs to project `wiki`"), "{error}");
    assert!(error.remedy.unwrap().contains("project = \"wiki\""));
}

#[tokio::test]
async fn a_format_of_the_future_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(&folder, "wiki").await.unwrap();
    let future = r#"{ "format": 2, "unheard": "of" }"#;
    lake.objects().put(&paths::lake_identity(), future.into()).await.unwrap();
    let error = open(&folder, "wiki").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Input);
    assert_eq!(error.remedy.as_deref(), Some("use the newer tidemill that wrote it"));
}
