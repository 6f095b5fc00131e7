//! Takes the event stream of `SubscribeToShard` over from the SDK, which knows it in JSON only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::config::interceptors::{
    BeforeSerializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShard, SubscribeToShardError};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Output};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use super::plug::{ask_in_cbor, body, failure};
use super::subscription::Subscription;

/// Makes one call of `SubscribeToShard` ask in CBOR, if a request in it is given, and keeps the events. Clones are the same one.
#[derive(Debug, Clone)]
pub(in crate::stream) struct Subscribing {
    request: Option<Bytes>,
    kept: Arc<Mutex<Option<SdkBody>>>,
}

impl Subscribing {
    pub(in crate::stream) fn new(request: Option<Vec<u8>>) -> Self {
        Self {
            request: request.map(Bytes::from),
            kept: Arc::default(),
        }
    }

    /// The subscription, once the call was answered.
    pub(in crate::stream) fn take(&self) -> Option<Subscription> {
        self.kept().take().map(Subscription::new)
    }

    fn kept(&self) -> MutexGuard<'_, Option<SdkBody>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Subscribing {
    fn name(&self) -> &'static str {
        "subscriptions as they come"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let deserializer = SharedResponseDeserializer::new(self.clone());
        config.interceptor_state().store_put(deserializer);
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(request) = &self.request {
            ask_in_cbor(context.request_mut(), request);
        }
        Ok(())
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
