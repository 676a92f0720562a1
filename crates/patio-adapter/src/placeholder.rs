//! Stands in for `patio_proto::payload::Payload` until that module is written. Same names, no wire format.

use std::sync::Arc;

use serde::Serialize;

/// Arguments of an event or ack.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload(Arc<serde_json::Value>);

impl Payload {
    /// `["name", …args]`.
    pub fn event<T: Serialize + ?Sized>(name: &str, args: &T) -> Result<Self, serde_json::Error> {
        Ok(Self(Arc::new(serde_json::json!([name, args]))))
    }

    /// `[…args]`.
    pub fn args<T: Serialize + ?Sized>(args: &T) -> Result<Self, serde_json::Error> {
        Ok(Self(Arc::new(serde_json::json!([args]))))
    }

    /// The bytes of data.
    pub fn size(&self) -> usize {
        self.0.to_string().len()
    }
}
