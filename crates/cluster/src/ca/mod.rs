//! Who is who: the root, node certificates, join tokens and the TLS configurations made of them.
pub mod credentials;
pub mod crypto;
pub mod tls;
pub mod token;

pub use credentials::{Credentials, CredentialsError};
pub use crypto::{CaError, Peer, RootCa, issuer_of};
pub use token::{JoinToken, TokenError};
