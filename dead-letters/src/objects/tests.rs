use kcl_core::dead_letters::{Redrive, ToHandler};
use kcl_core::{ProcessorError, Record};
#[cfg(feature = "fs")]
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use std::sync::Mutex;

use super::*;
use crate::testing::letter_with;

/// Takes records, and notes their payloads.
#[derive(Debug, Default, Clone)]
struct Taken(Arc<Mutex<Vec<String>>>);

impl Taken {
    async fn take(self, record: Record) -> Result<(), ProcessorError> {
        let text = String::from_utf8(record.data().to_vec())?;
        if text == "bad" {
            return Err("that word".into());
        }
        self.0.lock().expect("whole").push(text);
        Ok(())
    }

    /// What was taken, and that it is.
    async fn redrive(&self, letters: &mut LettersInObjects) -> kcl_core::dead_letters::Redriven {
        let mut handler = ToHandler::new(|record| self.clone().take(record));
        Redrive::new().run(letters, &mut handler).await.expect("read")
    }

    fn sorted(&self) -> Vec<String> {
        let mut taken = self.0.lock().expect("whole").clone();
        taken.sort();
        taken
    }
}

async fn keys(store: &Arc<dyn ObjectStore>) -> Vec<String> {
    let objects = futures_util::TryStreamExt::try_collect::<Vec<_>>(store.list(None));
    let mut keys: Vec<_> = objects
        .await
        .expect("listed")
        .into_iter()
        .map(|object| object.location.to_string())
        .collect();
    keys.sort();
    keys
}

/// A folder that goes away.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default().replace("::", "-");
        let folder = std::env::temp_dir().join(format!("kcl-objects-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("made");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store in memory, and one in a folder.
fn stores() -> (Vec<Arc<dyn ObjectStore>>, Folder) {
    let folder = Folder::new();
    #[cfg_attr(not(feature = "fs"), expect(unused_mut, reason = "there is no other"))]
    let mut stores: Vec<Arc<dyn ObjectStore>> = vec![Arc::new(InMemory::new())];
    #[cfg(feature = "fs")]
    stores.push(Arc::new(
        LocalFileSystem::new_with_prefix(&folder.0).expect("there"),
    ));
    (stores, folder)
}

const KEY: &str = "letters/app/clicks/shardId-000000000000";

#[tokio::test]
async fn each_letter_is_an_object_however_often_it_is_written() {
    let (stores, _folder) = stores();
    for store in stores {
        let sink = ObjectDeadLetters::new(store.clone(), "letters");
        let both = [letter_with(1, "a"), letter_with(2, "b")];
        sink.write(&both).await.expect("written");
        sink.write(&both[..1]).await.expect("written again");
        assert_eq!(
            keys(&store).await,
            [1, 2].map(|number| format!("{KEY}/{number}.0.json"))
        );
        let object = store
            .get(&Path::from(format!("{KEY}/2.0.json")))
            .await
            .expect("there");
        let bytes = object.bytes().await.expect("read");
        assert_eq!(
            serde_json::from_slice::<DeadLetter>(&bytes).expect("a letter"),
            both[1]
        );
    }
}

#[tokio::test]
async fn what_is_done_goes_away_and_what_is_not_taken_stays() {
    let (stores, _folder) = stores();
    for store in stores {
        let sink = ObjectDeadLetters::new(store.clone(), "letters");
        let letters = [letter_with(1, "a"), letter_with(2, "bad"), letter_with(3, "c")];
        sink.write(&letters).await.expect("written");
        let taken = Taken::default();
        let told = taken.redrive(&mut sink.letters()).await;
        assert_eq!((told.done, told.failed), (2, 1));
        assert_eq!(taken.sorted(), ["a", "c"]);
        assert_eq!(keys(&store).await, [format!("{KEY}/2.0.json")]);
    }
}

#[tokio::test]
async fn what_is_done_is_kept_elsewhere_by_choice_even_below_the_letters() {
    for done in ["done", "letters/done"] {
        let (stores, _folder) = stores();
        for store in stores {
            let sink = ObjectDeadLetters::new(store.clone(), "letters");
            sink.write(&[letter_with(1, "a")]).await.expect("written");
            let taken = Taken::default();
            for expected in [1, 0] {
                let told = taken.redrive(&mut sink.letters_moved_to(done)).await;
                assert_eq!(told.done, expected);
            }
            let kept = format!("{done}/app/clicks/shardId-000000000000/1.0.json");
            assert_eq!(keys(&store).await, [kept]);
        }
    }
}

#[tokio::test]
async fn what_is_no_letter_is_told_and_stays_and_no_other_is_lost() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let sink = ObjectDeadLetters::new(store.clone(), "letters");
    sink.write(&[letter_with(1, "a"), letter_with(9, "b")])
        .await
        .expect("written");
    let huge = vec![b'x'; (32 << 20) + 1];
    for (name, bytes) in [("0.txt", b"not JSON".to_vec()), ("5", Vec::new()), ("6", huge)] {
        let key = Path::from(format!("{KEY}/{name}"));
        store.put(&key, bytes.into()).await.expect("written");
    }
    let outside = Path::from("other/letter");
    store.put(&outside, "x".into()).await.expect("written");
    let taken = Taken::default();
    let told = taken.redrive(&mut sink.letters()).await;
    assert_eq!((told.done, told.failed, told.unreadable), (2, 0, 3), "{told:?}");
    assert!(told.problems[0].contains("0.txt"), "{told:?}");
    assert_eq!(taken.sorted(), ["a", "b"]);
    assert_eq!(keys(&store).await.len(), 4);
}

#[tokio::test]
async fn an_object_that_somebody_renamed_is_the_one_that_goes() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let sink = ObjectDeadLetters::new(store.clone(), "");
    sink.write(&[letter_with(1, "a")]).await.expect("written");
    let key = Path::from(keys(&store).await.remove(0));
    store
        .rename(&key, &Path::from("looked-at/1"))
        .await
        .expect("renamed");
    assert_eq!(Taken::default().redrive(&mut sink.letters()).await.done, 1);
    assert_eq!(keys(&store).await, [""; 0]);
}

#[tokio::test]
async fn names_that_are_no_paths_stay_within_the_prefix() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let sink = ObjectDeadLetters::new(store.clone(), "letters");
    let mut strange = letter_with(1, "a");
    strange.application = "../a/b".to_owned();
    strange.shard_id = "..".to_owned();
    strange.stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders".to_owned();
    sink.write(&[strange]).await.expect("written");
    let key = keys(&store).await.remove(0);
    assert!(
        key.starts_with("letters/") && key.matches('/').count() == 4 && key.contains("/orders/"),
        "{key}"
    );
    assert!(!key.split('/').any(|part| part == ".."), "{key}");
}

#[cfg(feature = "fs")]
#[tokio::test]
async fn a_store_that_fails_is_an_error_that_names_it() {
    let folder = Folder::new();
    let store = Arc::new(LocalFileSystem::new_with_prefix(&folder.0).expect("there"));
    std::fs::write(folder.0.join("letters"), "no folder").expect("written");
    let sink = ObjectDeadLetters::new(store, "letters");
    let error = sink.write(&[letter_with(1, "a")]).await.expect_err("no folder");
    assert!(error.to_string().contains("/letters failed: "), "{error}");
}
