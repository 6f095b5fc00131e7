//! AWS Security Token Service.

use super::Shape;

/// Who signs with this access key id: a user of that name. A key of twelve digits stands for an account.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
pub(super) fn caller_identity(key: &str, account: &str) -> Shape {
    let is_account = key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit());
    let account = if is_account { key } else { account };
    Shape::Map(vec![
        ("Arn", Shape::text(format!("arn:aws:iam::{account}:user/{key}"))),
        ("UserId", Shape::text(key)),
        ("Account", Shape::text(account)),
    ])
}
