//! Accounts and regions, each with streams of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::KinesisOptions;
use super::engine::Engine;

/// How many accounts and regions there may be. Whoever signs for ever new ones gets no memory for it.
const MOST_SCOPES: usize = 1_000;

/// An account in a region.
#[derive(Debug)]
pub(super) struct Scope {
    /// Those of the backend, with this account and region.
    pub(super) options: KinesisOptions,
    engine: Mutex<Engine>,
}

impl Scope {
    pub(super) fn new(options: KinesisOptions) -> Self {
        let engine = Mutex::new(Engine::new(options.clone()));
        Self { options, engine }
    }

    pub(super) fn engine(&self) -> MutexGuard<'_, Engine> {
        // A panic while the lock was held leaves at worst one record or shard half added, which no reader sees
        // as a broken structure, so a poisoned lock is still good.
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every account and region that requests were signed for.
#[derive(Debug)]
pub(super) struct Scopes {
    default: Arc<Scope>,
    others: Mutex<BTreeMap<(String, String), Arc<Scope>>>,
}

/// Whom a request is signed by, and for which region, as far as its signature says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signer<'a> {
    /// Twelve digits.
    account: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Signer<'a> {
    /// Reads an `Authorization` header with a signature of version 4.
    pub(super) fn of(authorization: &'a str) -> Self {
        let credential = authorization
            .split_once("Credential=")
            .map_or("", |(_, rest)| rest);
        let end = credential.find([',', ' ']).unwrap_or(credential.len());
        let mut parts = credential[..end].split('/');
        let (key, _date, region) = (parts.next(), parts.next(), parts.next());
        let is_scope = parts.next().is_some() && parts.next() == Some("aws4_request");
        let is_account = |key: &&str| key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit());
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_region = |region: &&str| (1..=32).contains(&region.len()) && region.bytes().all(is_part);
        Self {
            account: key.filter(is_account),
            region: region.filter(|_| is_scope).filter(is_region),
        }
    }
}

impl Scopes {
    pub(super) fn new(default: Arc<Scope>) -> Self {
        Self {
            default,
            others: Mutex::default(),
        }
    }

    /// All that there are.
    pub(super) fn all(&self) -> Vec<Arc<Scope>> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let others = others.values().cloned();
        others.chain([self.default.clone()]).collect()
    }

    /// Where a request goes; none if there are too many places already.
    pub(super) fn get(&self, signer: Signer<'_>) -> Option<Arc<Scope>> {
        let options = &self.default.options;
        let account = signer.account.unwrap_or(&options.account_id);
        let region = signer.region.unwrap_or(&options.region);
        if account == options.account_id && region == options.region {
            return Some(self.default.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (account.to_owned(), region.to_owned());
        if let Some(scope) = others.get(&place) {
            return Some(scope.clone());
        }
        if others.len() >= MOST_SCOPES {
            // What nobody uses and nobody has used for anything is as good as new.
            others.retain(|_, scope| Arc::strong_count(scope) > 1 || !scope.engine().is_new());
        }
        if others.len() >= MOST_SCOPES {
            return None;
        }
        let scope = Arc::new(Scope::new(KinesisOptions {
            account_id: place.0.clone(),
            region: place.1.clone(),
            ..options.clone()
        }));
        others.insert(place, scope.clone());
        Some(scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(credential: &str) -> (Option<String>, Option<String>) {
        let header = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0");
        let signer = Signer::of(&header);
        (
            signer.account.map(str::to_owned),
            signer.region.map(str::to_owned),
        )
    }

    #[test]
    fn a_signature_names_a_region_and_perhaps_an_account() {
        let region = Some("eu-west-1".to_owned());
        assert_eq!(
            of("local/20261121/eu-west-1/kinesis/aws4_request"),
            (None, region.clone())
        );
        assert_eq!(
            of("123456789012/20261121/eu-west-1/kinesis/aws4_request"),
            (Some("123456789012".to_owned()), region)
        );
    }

    #[test]
    fn what_is_no_signature_names_nothing() {
        for credential in [
            "",
            "x",
            "local/20261121/kinesis/aws4_request",
            "local/20261121/EU WEST/kinesis/aws4_request",
            "local/20261121//kinesis/aws4_request",
            "12345678901x/20261121/eu-west-1/kinesis",
        ] {
            assert_eq!(of(credential), (None, None), "{credential}");
        }
        assert_eq!(Signer::of("AWS4-HMAC-SHA256 x"), Signer::default());
    }

    #[test]
    fn each_account_and_each_region_is_a_place_of_its_own() {
        let default = Arc::new(Scope::new(KinesisOptions::default()));
        let scopes = Scopes::new(default.clone());
        let get = |account, region| scopes.get(Signer { account, region }).unwrap();
        let (account, region) = (Some("123456789012"), Some("eu-west-1"));
        assert!(Arc::ptr_eq(&get(None, None), &default));
        assert!(Arc::ptr_eq(
            &get(Some("000000000000"), Some("us-east-1")),
            &default
        ));
        let places = [get(account, None), get(None, region), get(account, region)];
        let told = places
            .each_ref()
            .map(|place| (place.options.account_id.as_str(), place.options.region.as_str()));
        assert_eq!(
            told,
            [
                ("123456789012", "us-east-1"),
                ("000000000000", "eu-west-1"),
                ("123456789012", "eu-west-1")
            ]
        );
        assert!(Arc::ptr_eq(&get(account, region), &places[2]));
    }

    #[test]
    fn places_without_streams_are_forgotten_when_there_are_too_many() {
        let scopes = Scopes::new(Arc::new(Scope::new(KinesisOptions::default())));
        for number in 0..3 * MOST_SCOPES {
            let account = format!("{number:012}");
            let signer = Signer {
                account: Some(&account),
                region: Some("eu-west-1"),
            };
            assert!(scopes.get(signer).is_some());
        }
        assert!(scopes.others.lock().unwrap().len() <= MOST_SCOPES);
    }
}
