//! Typed identifiers: 25 characters of base 36, as swarmkit makes them.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What every swarm id is underneath: 25 characters `[0-9a-z]`.
pub trait Id: Clone + Ord + fmt::Display + fmt::Debug + Send + Sync + 'static {
    /// Makes an id from 17 random bytes (the way of swarmkit's `identity/randomid.go`).
    fn from_random(bytes: [u8; 17]) -> Self;
    /// The text.
    fn as_str(&self) -> &str;
}

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a swarm id: 25 characters of 0-9 and a-z are expected")]
pub struct NotAnId(pub String);

/// The base-36 text of 17 random bytes: the high bit is set so that the length is fixed, the first character (which
/// is then not random) is dropped and 25 are kept.
pub fn base36_25(mut bytes: [u8; 17]) -> String {
    bytes[0] |= 0x80;
    let mut n = bytes.to_vec();
    let mut digits = Vec::with_capacity(27);
    while n.iter().any(|b| *b != 0) {
        let mut rem = 0u32;
        for b in n.iter_mut() {
            let cur = (rem << 8) | u32::from(*b);
            *b = (cur / 36) as u8;
            rem = cur % 36;
        }
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[rem as usize]);
    }
    digits.reverse();
    String::from_utf8_lossy(&digits[1..26]).into_owned()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);
        impl Id for $name {
            fn from_random(bytes: [u8; 17]) -> Self { Self(base36_25(bytes).into()) }
            fn as_str(&self) -> &str { &self.0 }
        }
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(s: &str) -> Result<Self, NotAnId> {
                let ok = s.len() == 25 && s.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
                if ok { Ok(Self(s.into())) } else { Err(NotAnId(s.to_owned())) }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({})", stringify!($name), &self.0) }
        }
    )*};
}

ids! {
    /// A machine of the swarm.
    NodeId;
    /// A service.
    ServiceId;
    /// One run of one slot of a service (or a plain container's attachment to an overlay).
    TaskId;
    /// A swarm-scoped network.
    NetworkId;
    /// A secret.
    SecretId;
    /// A config.
    ConfigId;
    /// The cluster itself.
    ClusterId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_25_base36_characters_whatever_the_bytes() {
        for bytes in [[0u8; 17], [0xff; 17], [0x5a; 17]] {
            let id = NodeId::from_random(bytes);
            assert_eq!(id.as_str().parse::<NodeId>().unwrap(), id);
        }
        assert!("UPPER".parse::<NodeId>().is_err());
    }
}
