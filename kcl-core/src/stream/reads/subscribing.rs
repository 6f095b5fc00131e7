//! Takes the event stream of `SubscribeToShard` over from the SDK, which knows it in JSON only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::config::ConfigBag;
use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShard, SubscribeToShardError};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Output};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::body::SdkBody;

use super::plug::{Plug, body, failure};
use super::subscription::Subscription;

/// Keeps the events that one call of `SubscribeToShard` is answered with. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(in crate::stream) struct Subscribing {
    kept: Arc<Mutex<Option<SdkBody>>>,
}

impl Subscribing {
    /// What makes a call ask in CBOR, if a request in it is given, and leave the events here.
    pub(in crate::stream) fn plug(&self, request: Option<Vec<u8>>) -> Plug<Self> {
        Plug::new(request, self.clone())
    }

    /// The subscription, once the call was answered.
    pub(in crate::stream) fn take(&self) -> Option<Subscription> {
        self.kept().take().map(Subscription::new)
    }

    fn kept(&self) -> MutexGuard<'_, Option<SdkBody>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeserializeResponse for Subscribing {
    /// The SDK is given an answer without events, so that it has something to return.
    fn deserialize_streaming_with_config(
        &self,
        response: &mut HttpResponse,
        config: &ConfigBag,
    ) -> Option<Result<Output, OrchestratorError<Error>>> {
        if !response.status().is_success() {
            return None;
        }
        *self.kept() = Some(std::mem::replace(response.body_mut(), SdkBody::empty()));
        let sdk = SubscribeToShard::new().config()?;
        let deserializer = sdk.load::<SharedResponseDeserializer>()?;
        deserializer.deserialize_streaming_with_config(response, config)
    }

    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let body = body(response).unwrap_or_default();
        let failure = SubscribeToShardError::generic(failure(response, &body));
        Err(OrchestratorError::operation(Error::erase(failure)))
    }
}
