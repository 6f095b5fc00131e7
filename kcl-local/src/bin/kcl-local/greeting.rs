//! What is printed at the start: how to point clients at the server, to be pasted as it stands.

/// What the recipes depend on.
#[derive(Debug, Clone)]
pub(crate) struct Greeting<'a> {
    /// Where clients find it.
    pub(crate) endpoint: String,
    pub(crate) region: &'a str,
    /// The file that tells whom to trust, where it speaks HTTPS.
    pub(crate) trust: Option<String>,
    /// A stream that is there already.
    pub(crate) stream: Option<&'a str>,
}

impl Greeting<'_> {
    /// The text. A test runs the commands that are in it.
    pub(crate) fn text(&self) -> String {
        let Self { endpoint, region, .. } = self;
        let endpoint_word = word(endpoint);
        let region_word = word(region);
        let trust = self
            .trust
            .as_deref()
            .map(|file| format!(" AWS_CA_BUNDLE={}", word(file)));
        let trust = trust.unwrap_or_default();
        let stream = word(self.stream.unwrap_or("orders"));
        let create = match self.stream {
            Some(_) => String::new(),
            None => format!("  aws kinesis create-stream --stream-name {stream} --shard-count 2\n"),
        };
        let verify = self
            .trust
            .as_deref()
            .map(|file| format!(", verify={}", literal(file)));
        let verify = verify.unwrap_or_default();
        let (python_endpoint, python_region) = (literal(endpoint), literal(region));
        format!(
            "\
Kinesis and DynamoDB listen on {endpoint}

For any AWS SDK, and for the AWS CLI (1 and 2):
  export AWS_ENDPOINT_URL={endpoint_word} AWS_REGION={region_word} AWS_DEFAULT_REGION={region_word} AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local{trust}

{create}  echo hello | aws kinesis put-record --stream-name {stream} --partition-key a --data fileb:///dev/stdin
  aws kinesis list-shards --stream-name {stream}

In Python:
  import boto3
  kinesis = boto3.client(\"kinesis\", endpoint_url={python_endpoint}, region_name={python_region},
      aws_access_key_id=\"local\", aws_secret_access_key=\"local\"{verify})

For your browser, what is in there: {endpoint}/_kcl-local/
To let things go wrong: kcl-local faults --help

Everything is in memory and gone when this stops (ctrl-c).
"
        )
    }
}

/// A word for the shell, in quotes if it needs them.
fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@[]".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) && !text.contains('[') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text for Python.
fn literal(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_for_the_shell_is_quoted() {
        assert_eq!(word("http://127.0.0.1:4567"), "http://127.0.0.1:4567");
        assert_eq!(word("/tmp/my files/it's.pem"), r"'/tmp/my files/it'\''s.pem'");
        assert_eq!(word("http://[::1]:4567"), "'http://[::1]:4567'");
        assert_eq!(literal(r#"a"b\c"#), r#""a\"b\\c""#);
    }

    #[test]
    fn a_stream_that_is_there_is_not_created_again() {
        let greeting = |stream| Greeting {
            endpoint: "http://127.0.0.1:1".to_owned(),
            region: "us-east-1",
            trust: None,
            stream,
        };
        assert!(
            greeting(None)
                .text()
                .contains("create-stream --stream-name orders")
        );
        let text = greeting(Some("clicks")).text();
        assert!(!text.contains("create-stream") && text.contains("put-record --stream-name clicks"));
        assert!(!text.contains('\u{1b}'));
    }
}
