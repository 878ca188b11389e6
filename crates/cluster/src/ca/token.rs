//! Join tokens: `SWMTKN-1-<digest of the root>-<secret>`, as Docker prints them.
use super::crypto;
use model::id::base36_25;
use std::fmt;
use std::str::FromStr;

/// Characters of the digest part: 256 bits in base 36.
const DIGEST_LEN: usize = 50;
/// Characters of the secret part.
const SECRET_LEN: usize = 25;

/// A join token in its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the root's PEM.
    pub root_digest: [u8; 32],
    /// 25 base-36 characters; decides the role.
    pub secret: String,
}

/// Why a token is of no use. The texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token.
    #[error("invalid join token")]
    Invalid,
    /// The root that the manager showed is another one.
    #[error("remote CA does not match fingerprint. Expected: {0}")]
    Fingerprint(String),
}

impl JoinToken {
    /// The token for a root and a secret.
    pub fn new(root_pem: &str, secret: &str) -> Self {
        Self { root_digest: crypto::sha256(root_pem.as_bytes()), secret: secret.to_owned() }
    }

    /// A fresh secret part.
    pub fn fresh_secret(random: [u8; 17]) -> String {
        base36_25(random)
    }

    /// Whether `root_pem` is the root that the token was made for.
    ///
    /// # Errors
    /// [`TokenError::Fingerprint`].
    pub fn check_root(&self, root_pem: &str) -> Result<(), TokenError> {
        if crypto::sha256(root_pem.as_bytes()) == self.root_digest {
            return Ok(());
        }
        let hex = self.root_digest.iter().fold(String::new(), |s, b| format!("{s}{b:02x}"));
        Err(TokenError::Fingerprint(hex))
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SWMTKN-1-{}-{}", to_base36(&self.root_digest), self.secret)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SWMTKN-1-{}-…", to_base36(&self.root_digest))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;
    fn from_str(s: &str) -> Result<Self, TokenError> {
        let mut parts = s.trim().split('-');
        let (Some("SWMTKN"), Some("1"), Some(digest), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Invalid);
        };
        let base36 = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if digest.len() != DIGEST_LEN || secret.len() != SECRET_LEN || !base36(digest) || !base36(secret) {
            return Err(TokenError::Invalid);
        }
        let root_digest = from_base36(digest).ok_or(TokenError::Invalid)?;
        Ok(Self { root_digest, secret: secret.to_owned() })
    }
}

/// The number in base 36, padded to [`DIGEST_LEN`].
fn to_base36(bytes: &[u8; 32]) -> String {
    let mut n = bytes.to_vec();
    let mut out = vec![b'0'; DIGEST_LEN];
    for digit in out.iter_mut().rev() {
        let mut rem = 0u32;
        for b in n.iter_mut() {
            let cur = (rem << 8) | u32::from(*b);
            *b = (cur / 36) as u8;
            rem = cur % 36;
        }
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[rem as usize];
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `None` when the number has more than 256 bits.
fn from_base36(text: &str) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    for c in text.chars() {
        let mut carry = c.to_digit(36)?;
        for b in out.iter_mut().rev() {
            let cur = u32::from(*b) * 36 + carry;
            *b = cur as u8;
            carry = cur >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_and_fits_only_its_root() {
        let t = JoinToken::new("root", &JoinToken::fresh_secret([7; 17]));
        let text = t.to_string();
        assert_eq!(text.len(), "SWMTKN-1-".len() + 50 + 1 + 25);
        assert_eq!(text.parse::<JoinToken>().unwrap(), t);
        t.check_root("root").unwrap();
        let e = t.check_root("other").unwrap_err().to_string();
        assert!(e.starts_with("remote CA does not match fingerprint. Expected: ") && e.len() == 48 + 64, "{e}");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = JoinToken::new("root", &JoinToken::fresh_secret([7; 17])).to_string();
        for bad in ["", "x", "SWMTKN-2-a-b", &good[1..], &format!("{good}-x"), &good.to_uppercase()] {
            assert_eq!(bad.parse::<JoinToken>(), Err(TokenError::Invalid), "{bad}");
        }
        let too_big = format!("SWMTKN-1-{}-{}", "z".repeat(50), "a".repeat(25));
        assert_eq!(too_big.parse::<JoinToken>(), Err(TokenError::Invalid));
    }
}
