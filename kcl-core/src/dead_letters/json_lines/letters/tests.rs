use std::fs;
use std::io::Write as _;

use super::super::tests::Folder;
use super::*;
use crate::dead_letters::DeadLetters as _;
use crate::dead_letters::letter::tests::{letter, letter_of};
use crate::record::builder::record;

fn json(letter: &DeadLetter) -> Vec<u8> {
    letter.to_json().expect("written")
}

/// A folder with a file of these lines, each with its break.
fn file_of(name: &str, lines: &[&[u8]]) -> Folder {
    let folder = Folder::new(name);
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    fs::write(folder.file(), text).expect("written");
    folder
}

fn letters_in(folder: &Folder) -> LettersInFile {
    JsonLines::new(folder.file()).letters()
}

/// What is found: letters, and where something else stands, and why.
async fn found(letters: &mut LettersInFile) -> (Vec<DeadLetter>, Vec<(String, String)>) {
    let (mut all, mut unreadable) = (Vec::new(), Vec::new());
    while let Some(found) = letters.next().await.expect("read") {
        match found {
            Found::Letter(letter) => all.push(letter),
            Found::Unreadable { place, reason } => unreadable.push((place, reason)),
        }
    }
    (all, unreadable)
}

#[tokio::test]
async fn what_is_no_letter_is_skipped_and_told_and_no_other_is_lost() {
    let [first, second, third] = [1, 2, 3].map(|number| json(&letter(number)));
    let newer = [&first[..first.len() - 1], br#","of_later":{"a":[1]}}"#].concat();
    let (deep, huge) = ("[".repeat(100_000), vec![b'x'; LONGEST_LINE + 1]);
    let large = vec![b'y'; LONGEST_LINE];
    let lines: [&[u8]; 12] = [
        &newer,
        &second[..second.len() / 2],
        b"",
        b"not JSON",
        b"  \r",
        b"{}",
        b"\xff\xfe\x00",
        deep.as_bytes(),
        &huge,
        &large,
        b"[1]",
        &second,
    ];
    let folder = file_of("hostile", &lines);
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(folder.file())
        .expect("there");
    file.write_all(&third).expect("written without a line break");
    let (letters, unreadable) = found(&mut letters_in(&folder)).await;
    assert_eq!(letters, [letter(1), letter(2), letter(3)]);
    let told: Vec<_> = unreadable
        .iter()
        .map(|(place, reason)| {
            let line = place.split(' ').nth(1).expect("a number");
            assert!(
                place.ends_with("letters.jsonl") && reason.len() < 200,
                "{place}: {reason}"
            );
            line
        })
        .collect();
    assert_eq!(told, ["2", "4", "6", "7", "8", "9", "10", "11"]);
    assert!(unreadable[5].1.contains("bytes"), "{unreadable:?}");
}

#[tokio::test]
async fn what_a_crash_left_at_the_end_is_tolerated() {
    let folder = file_of("torn", &[&json(&letter(1)), &json(&letter(2))]);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(folder.file())
        .expect("there");
    let whole = file.metadata().expect("there").len();
    file.set_len(whole - 30).expect("cut");
    let (letters, unreadable) = found(&mut letters_in(&folder)).await;
    assert_eq!((letters, unreadable.len()), (vec![letter(1)], 1));
    JsonLines::new(folder.file())
        .write(&[letter(2)])
        .await
        .expect("written again");
    let (letters, unreadable) = found(&mut letters_in(&folder)).await;
    assert_eq!((letters, unreadable.len()), (vec![letter(1), letter(2)], 1));
}

#[tokio::test]
async fn letters_of_many_megabytes_are_read_in_pieces() {
    let large: Vec<_> = (0..4)
        .map(|number| letter_of(record(vec![number; 2 << 20]).sequence_number(number.into())))
        .collect();
    let folder = Folder::new("large");
    JsonLines::new(folder.file())
        .write(&large)
        .await
        .expect("written");
    let mut letters = letters_in(&folder);
    assert_eq!(found(&mut letters).await, (large, vec![]));
    assert_eq!(letters.lines, 4);
}

#[tokio::test]
async fn what_is_done_is_remembered_by_the_next_process() {
    let folder = file_of(
        "done",
        &[1, 2, 3]
            .map(|number| json(&letter(number)))
            .each_ref()
            .map(Vec::as_slice),
    );
    let mut letters = letters_in(&folder);
    letters.claim().await.expect("free");
    letters.done(&letter(1)).await.expect("recorded");
    letters.done(&letter(3)).await.expect("recorded");
    let others = letters_in(&folder).claim().await.expect_err("ours").to_string();
    assert!(
        others.contains("letters.jsonl.done") && others.contains("wait for it"),
        "{others}"
    );
    drop(letters);
    let mut letters = letters_in(&folder);
    letters.claim().await.expect("free again");
    assert_eq!(found(&mut letters).await.0, [letter(2)]);
}

#[tokio::test]
async fn an_id_that_a_crash_cut_off_is_not_taken_for_another_one() {
    let of = |index| letter_of(record("x").sub_sequence_number(index));
    let folder = file_of("cut", &[&json(&of(1)), &json(&of(12))]);
    let beside = folder.file().with_extension("jsonl.done");
    fs::write(&beside, format!(r#"{{"id":"{}"#, of(1).id())).expect("written");
    let mut letters = letters_in(&folder);
    letters.claim().await.expect("free");
    assert_eq!(found(&mut letters).await.0, [of(1), of(12)]);
    letters.done(&of(12)).await.expect("recorded");
    drop(letters);
    assert_eq!(found(&mut letters_in(&folder)).await.0, [of(1)]);
}

#[tokio::test]
async fn looking_changes_nothing() {
    let folder = file_of("look", &[&json(&letter(1))]);
    found(&mut letters_in(&folder)).await;
    let files = fs::read_dir(folder.file().parent().expect("a folder")).expect("readable");
    assert_eq!(files.count(), 1);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_an_error_that_names_it() {
    let folder = Folder::new("nothing");
    let error = letters_in(&folder).next().await.expect_err("no file").to_string();
    assert!(error.contains("letters.jsonl"), "{error}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_letter_is_lost_among_whatever_lines(
        lines in proptest::collection::vec(proptest::option::of(proptest::collection::vec(0..=255_u8, 0..80)), 0..20),
        ends in proptest::prelude::any::<bool>(),
    ) {
        let mut numbers = 0..;
        let (mut text, mut expected) = (Vec::new(), Vec::new());
        for line in lines {
            match line {
                Some(garbage) => text.extend(garbage),
                None => {
                    let letter = letter(numbers.next().expect("more"));
                    text.extend(json(&letter));
                    expected.push(letter);
                }
            }
            text.push(b'\n');
        }
        if !ends {
            text.pop();
        }
        let folder = Folder::new("garbage");
        fs::write(folder.file(), text).expect("written");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("made");
        let (letters, _) = runtime.block_on(async { found(&mut letters_in(&folder)).await });
        proptest::prop_assert_eq!(letters, expected);
    }
}
