//! What every place of a lake promises, asked of each.

use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::lake::outputs::NewOutput;
use crate::lake::testing::{Emulator, key, local_file, on_disk};
use crate::lake::{Created, Lake};
use crate::model::finding::Health;
use crate::model::name::TableName;
use bytes::Bytes;

fn table() -> TableName {
    "agg.by_hour".parse().unwrap()
}

fn output(n: u32, text: &str) -> NewOutput {
    let content = Some((local_file(text), 1));
    NewOutput { table: table(), key: key(), n, run: format!("run-{n}"), input: None, content }
}

/// What readers find in the place of the output.
async fn visible(lake: &Lake) -> String {
    let files = lake.visible_files(&table()).await.unwrap();
    let [file] = files.as_slice() else { panic!("one object, not {files:?}") };
    let bytes = lake.read(&file.published).await.unwrap().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn it_is_admitted(lake: Lake) {
    let found = lake.examine(&Clock::system()).await;
    assert!(found.iter().all(|finding| finding.health == Health::Good), "{found:?}");
}

async fn of_many_who_create_a_name_one_has_it(lake: Lake) {
    let path = "stage/one".into();
    let create = |n: u8| lake.create(&path, Bytes::from(vec![n]));
    let created = futures::future::try_join_all((0..8).map(create)).await.unwrap();
    assert_eq!(created.iter().filter(|created| **created == Created::Ours).count(), 1);
    let held = lake.read(&path).await.unwrap().unwrap();
    let mut theirs = created.into_iter().filter(|created| *created != Created::Ours);
    assert!(theirs.all(|theirs| theirs == Created::Theirs(held.clone())));
}

async fn a_file_that_needs_several_parts_is_uploaded_whole(lake: Lake) {
    let text = "0123456789".repeat(500);
    lake.upload(&"stage/parts".into(), &local_file(&text)).await.unwrap();
    assert_eq!(lake.read(&"stage/parts".into()).await.unwrap().unwrap(), text);
}

async fn an_output_is_replaced_by_a_newer_closing_only(lake: Lake) {
    lake.replace_output(output(1, "one")).await.unwrap();
    let two = "two".repeat(1_000);
    lake.replace_output(output(2, &two)).await.unwrap();
    assert_eq!(visible(&lake).await, two);
    let refused = lake.replace_output(output(1, "late")).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Fenced);
    assert_eq!(visible(&lake).await, two);
}

/// Asks each promise of each place; a new place is a line here.
macro_rules! conformance {
    ($($promise:ident),+ $(,)?) => {
        mod folder {
            $(
                #[tokio::test]
                async fn $promise() {
                    let folder = tempfile::tempdir().unwrap();
                    super::$promise(super::on_disk(folder.path()).await).await;
                }
            )+
        }

        mod gcs {
            $(
                #[tokio::test]
                async fn $promise() {
                    let Some(emulator) = super::Emulator::start() else { return };
                    super::$promise(emulator.lake().await).await;
                }
            )+
        }
    };
}

conformance!(
    it_is_admitted,
    of_many_who_create_a_name_one_has_it,
    a_file_that_needs_several_parts_is_uploaded_whole,
    an_output_is_replaced_by_a_newer_closing_only,
);
