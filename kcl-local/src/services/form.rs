//! Requests of the query protocol: `MetricData.member.1.Value=7` becomes a member of an element of a list.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>

use serde_json::{Map, Value};

/// A form has no more members than the largest request needs: a thousand metrics of thirty dimensions, each with values.
const MOST_MEMBERS: usize = 400_000;
/// How deep members nest.
const DEEPEST: usize = 16;

/// Reads a form. All values are texts; lists are `Name.member.N`, in the order of their numbers.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(body: &[u8]) -> Result<Value, String> {
    let mut tree = Map::new();
    let members = body.split(|byte| *byte == b'&');
    for (place, member) in members.filter(|member| !member.is_empty()).enumerate() {
        if place == MOST_MEMBERS {
            return Err(format!("a request has {MOST_MEMBERS} members at most"));
        }
        let cut = member.iter().position(|byte| *byte == b'=');
        let (name, value) = match cut {
            Some(cut) => (&member[..cut], &member[cut + 1..]),
            None => (member, &b""[..]),
        };
        let (name, value) = (decoded(name)?, decoded(value)?);
        let path: Vec<&str> = name.split('.').collect();
        if path.len() > DEEPEST {
            return Err(format!("members nest {DEEPEST} deep at most"));
        }
        put(&mut tree, &path, value)?;
    }
    Ok(lists(Value::Object(tree)))
}

fn put(tree: &mut Map<String, Value>, path: &[&str], value: String) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        tree.insert((*first).to_owned(), Value::String(value));
        return Ok(());
    }
    let entry = tree.entry(*first).or_insert_with(|| Value::Object(Map::new()));
    match entry {
        Value::Object(below) => put(below, rest, value),
        _ => Err(format!("{first} is a value and has members as well")),
    }
}

/// Makes lists of what has nothing but a `member`, whose members are numbers.
fn lists(value: Value) -> Value {
    let Value::Object(mut tree) = value else {
        return value;
    };
    if tree.len() == 1
        && let Some(Value::Object(members)) = tree.remove("member")
    {
        let mut numbered: Vec<(u64, Value)> = members
            .into_iter()
            .filter_map(|(number, value)| Some((number.parse().ok()?, value)))
            .collect();
        numbered.sort_by_key(|(number, _)| *number);
        return Value::Array(numbered.into_iter().map(|(_, value)| lists(value)).collect());
    }
    Value::Object(
        tree.into_iter()
            .map(|(name, value)| (name, lists(value)))
            .collect(),
    )
}

/// Undoes what a form does to letters that have a meaning in it.
fn decoded(text: &[u8]) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.ok_or("a % stands before two hexadecimal digits")?);
                rest = &rest[2..];
            }
            letter => bytes.push(*letter),
        }
    }
    String::from_utf8(bytes).map_err(|_| "a form is UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn members_and_lists_are_put_together() {
        let form = b"Action=X&Name=a+b%26c&List.member.2.Value=2&List.member.1.Value=1&List.member.1.Sub.Deep=x&Empty=";
        assert_eq!(
            read(form).unwrap(),
            json!({
                "Action": "X", "Name": "a b&c", "Empty": "",
                "List": [{ "Value": "1", "Sub": { "Deep": "x" } }, { "Value": "2" }],
            })
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for form in ["a=%", "a=%zz", "a=%ff", "a=1&a.b=2"] {
            assert!(read(form.as_bytes()).is_err(), "{form}");
        }
        let deep = "a.".repeat(1_000_000);
        assert!(read(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_does_no_harm(body: Vec<u8>) {
            let _ = read(&body);
        }

        #[test]
        fn forms_that_nobody_wrote_do_no_harm(body in "([a.%&=+0-9]|member){0,64}") {
            let _ = read(body.as_bytes());
        }
    }
}
