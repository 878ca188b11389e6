//! Who is who: the root, node certificates, join tokens and the TLS configurations made of them.
pub mod credentials;
pub mod crypto;
pub mod lock;
pub mod tls;
pub mod token;

pub use credentials::{Credentials, CredentialsError};
pub use crypto::{CaError, Peer, RootCa, issuer_among, issuer_of};
pub use lock::{DataKey, KeyRing, LockError, UnlockKey};
pub use token::{JoinToken, TokenError};
