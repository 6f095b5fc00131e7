#![doc = include_str!("../README.md")]

mod endpoint;
mod imds;
mod notice;
mod pace;
#[cfg(feature = "testing")]
pub mod testing;
mod watch;

pub use self::endpoint::{Endpoint, EndpointError};
pub use self::imds::{Imds, ImdsError};
pub use self::notice::{Notice, NoticeError, Reason};
pub use self::watch::{LookError, Watch};
