//! Which words CloudWatch takes, and what becomes of others. Pure.

use super::InvalidExport;

/// Characters of a namespace, and of a dimension's value.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html>
const LONGEST_NAMESPACE: usize = 255;
const LONGEST_VALUE: usize = 1024;

/// As much of a text as tells one dimension's value from another.
pub(crate) fn beginning(text: &str) -> &str {
    let end = text.floor_char_boundary(LONGEST_VALUE);
    &text[..end]
}

/// As a dimension's value: of ASCII without control characters, not blank, and not too long.
pub(crate) fn dimension_value(text: &str) -> String {
    let is_taken = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    let plain = |letter| if is_taken(letter) { letter } else { '_' };
    let value: String = beginning(text).chars().map(plain).collect();
    match value.trim().is_empty() {
        true => "_".to_owned(),
        false if value.starts_with(':') => value.replacen(':', "_", 1),
        false => value,
    }
}

/// A namespace of the application's own.
pub(crate) fn namespace(name: &str) -> Result<String, InvalidExport> {
    let is_taken = |letter: char| letter.is_ascii_alphanumeric() || "._-/#: ".contains(letter);
    let problem = if name.trim().is_empty() {
        "it is empty"
    } else if name.len() > LONGEST_NAMESPACE {
        "it has more than 255 characters"
    } else if !name.chars().all(is_taken) {
        "it may have letters and digits of ASCII, and . _ - / # : and blanks"
    } else if name.starts_with("AWS/") || name.starts_with(':') {
        "names that begin with AWS/ or with a colon are not for applications"
    } else {
        return Ok(name.to_owned());
    };
    Err(InvalidExport::Namespace {
        namespace: name.chars().take(80).collect(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards_and_workers_are_left_as_they_are() {
        for name in [
            "shardId-000000000007",
            "123456789012:clicks:1700000000",
            "ip-10-0-0-7 (blue)",
        ] {
            assert_eq!(dimension_value(name), name);
        }
    }

    #[test]
    fn what_cloudwatch_does_not_take_is_replaced() {
        assert_eq!(dimension_value(""), "_");
        assert_eq!(dimension_value("  "), "_");
        assert_eq!(dimension_value(":worker"), "_worker");
        assert_eq!(dimension_value("wörker\n7\u{1f980}"), "w_rker_7_");
        let long = format!("{}\u{1f980}x", "s".repeat(LONGEST_VALUE - 2));
        let value = dimension_value(&long);
        assert_eq!(value, "s".repeat(LONGEST_VALUE - 2));
        assert!(dimension_value(&"x".repeat(10_240)).len() == LONGEST_VALUE);
    }

    #[test]
    fn a_namespace_that_cannot_be_is_refused_with_the_reason() {
        for name in ["orders", "Shop/orders #2: a-b_c.d"] {
            assert_eq!(namespace(name).expect("taken"), name);
        }
        for (name, reason) in [
            ("", "empty"),
            ("AWS/Kinesis", "AWS/"),
            (":orders", "colon"),
            ("ördërs", "ASCII"),
        ] {
            let error = namespace(name).expect_err("refused").to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(namespace(&"n".repeat(256)).is_err());
    }
}
