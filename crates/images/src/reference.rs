//! Docker's image references: `ubuntu`, `localhost:5000/a/b:tag`, `busybox@sha256:…`, and how they are shown again.
use std::fmt;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const NAME_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;

/// Why a text is not a reference; Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Anything that does not fit the grammar.
    #[error("invalid reference format")]
    Format,
    /// Capital letters in the repository.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// Longer than 255 characters.
    #[error("repository name must not be more than 255 characters")]
    NameTooLong,
    /// A bare 64-digit id where a name is wanted.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// The part after `:` is no tag.
    #[error("invalid tag format")]
    Tag,
    /// Not sha256 and friends.
    #[error("unsupported digest algorithm")]
    DigestAlgorithm,
    /// Wrong number of digits.
    #[error("invalid checksum digest length")]
    DigestLength,
    /// Not lower-case hexadecimal.
    #[error("invalid checksum digest format")]
    DigestFormat,
    /// A digest where a tag is needed.
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
}

/// A normalised reference: domain and path are always there, tag and digest may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// What a user may type where an image is wanted: a name, or an id (in full).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyReference {
    /// A name; may still be the prefix of an id.
    Named(Reference),
    /// `sha256:…` or 64 hexadecimal digits.
    Id(String),
}

impl Reference {
    /// Parses a familiar or full name. Nothing is added but the domain and `library/`.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_hex64(text) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let name_end = remainder.find([':', '@']).unwrap_or(remainder.len());
        // Docker looks for capitals up to the tag only, so that `a@sha256:ABC` is a digest error.
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.chars().any(char::is_uppercase) && !remote.contains('@') {
            return Err(ReferenceError::Uppercase(remote.to_owned()));
        }
        let (path, mut rest) = remainder.split_at(name_end);
        if !is_path(path) || !is_domain(&domain) {
            return Err(ReferenceError::Format);
        }
        let mut tag = None;
        if let Some(after) = rest.strip_prefix(':') {
            let end = after.find('@').unwrap_or(after.len());
            if !is_tag(&after[..end]) {
                return Err(ReferenceError::Format);
            }
            tag = Some(after[..end].to_owned());
            rest = &after[end..];
        }
        let mut digest = None;
        if let Some(after) = rest.strip_prefix('@') {
            check_digest(after)?;
            digest = Some(after.to_owned());
            rest = "";
        }
        if !rest.is_empty() {
            return Err(ReferenceError::Format);
        }
        if domain.len() + 1 + path.len() > NAME_LENGTH_MAX {
            return Err(ReferenceError::NameTooLong);
        }
        Ok(Self { domain, path: path.to_owned(), tag, digest })
    }

    /// A reference and a tag as the Engine API gives them apart. The reference may have a tag itself, which then counts
    /// only if no other is given; the tag may be a digest.
    pub fn from_parts(reference: &str, tag: &str) -> Result<Self, ReferenceError> {
        let base = Self::parse(reference)?;
        match tag {
            "" => Ok(base),
            digest if check_digest(digest).is_ok() => Ok(base.with_digest(digest)),
            tag => base.with_tag(tag),
        }
    }

    /// As [`Self::from_parts`], for the name that an image is given: `latest` if no tag is said, and never a digest.
    pub fn name_from_parts(reference: &str, tag: &str) -> Result<Self, ReferenceError> {
        let base = Self::parse(reference)?;
        if base.digest.is_some() {
            return Err(ReferenceError::TagWithDigest);
        }
        if tag.is_empty() { Ok(base.or_latest()) } else { base.with_tag(tag) }
    }

    /// The same repository under another tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository by digest.
    pub fn with_digest(&self, digest: &str) -> Self {
        Self { tag: None, digest: Some(digest.to_owned()), ..self.clone() }
    }

    /// With `latest` if it has neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// Registry host, `docker.io` by default.
    pub fn domain(&self) -> &str {
        &self.domain
    }
    /// Repository path inside the registry, `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// Tag, if any.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
    /// Digest, if any.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
    /// Full repository name, `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }
    /// Repository as people write it, `busybox`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.clone(),
        }
    }
    /// The whole reference as people write it.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }
    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest);
        }
        name
    }
}

impl fmt::Display for Reference {
    /// The full form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl AnyReference {
    /// Reads an id or a name.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_hex64(text) {
            return Ok(Self::Id(format!("sha256:{text}")));
        }
        if check_digest(text).is_ok() {
            return Ok(Self::Id(text.to_owned()));
        }
        Reference::parse(text).map(Self::Named)
    }
}

/// Whether this is `algorithm:hex` with the right number of lower-case digits.
pub fn check_digest(text: &str) -> Result<(), ReferenceError> {
    let Some((algorithm, hex)) = text.split_once(':') else { return Err(ReferenceError::Format) };
    let digits = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ if is_algorithm(algorithm) && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            return Err(ReferenceError::DigestAlgorithm);
        }
        _ => return Err(ReferenceError::Format),
    };
    if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) || hex.len() < 32 {
        return Err(ReferenceError::Format);
    }
    if hex.len() != digits {
        return Err(ReferenceError::DigestLength);
    }
    if hex.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::DigestFormat);
    }
    Ok(())
}

fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_algorithm(text: &str) -> bool {
    !text.is_empty()
        && text.split(['-', '_', '+', '.']).all(|part| {
            part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

fn split_domain(name: &str) -> (String, String) {
    let (domain, remainder) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL}{remainder}"));
    }
    (domain.to_owned(), remainder.to_owned())
}

fn is_domain(domain: &str) -> bool {
    let host = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
                return false;
            }
            host
        }
        _ => domain,
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    }
    host.split('.').all(|part| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Components of lower-case letters and digits, joined inside by `.`, `_`, `__` or any number of `-`.
fn is_path(path: &str) -> bool {
    path.split('/').all(|component| {
        let bytes = component.as_bytes();
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
        if !word(first) || !word(last) {
            return false;
        }
        component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_LENGTH_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let table: &[(&str, &str, &str)] = &[
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("me/app", "docker.io/me/app", "me/app"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("library/busybox", "docker.io/library/busybox", "busybox"),
            ("localhost/a", "localhost/a", "localhost/a"),
            ("localhost:5000/a/b__c:t", "localhost:5000/a/b__c:t", "localhost:5000/a/b__c:t"),
            ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
            ("Host/a", "Host/a", "Host/a"),
            ("a--b/c---d", "docker.io/a--b/c---d", "a--b/c---d"),
            ("quay.io/x/y/z:1", "quay.io/x/y/z:1", "quay.io/x/y/z:1"),
        ];
        for (text, full, familiar) in table {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (*full, *familiar));
        }
        let both = Reference::parse(&format!("a:t@{D}")).unwrap();
        assert_eq!((both.tag(), both.digest()), (Some("t"), Some(D)));
        assert_eq!(Reference::parse("a").unwrap().or_latest().familiar(), "a:latest");
        let by_digest = format!("a@{D}");
        for (reference, tag, asked, named) in [
            ("a", "", Ok("a"), Ok("a:latest")),
            ("a", "1", Ok("a:1"), Ok("a:1")),
            ("a:1", "", Ok("a:1"), Ok("a:1")),
            ("a:1", "2", Ok("a:2"), Ok("a:2")),
            ("a:1", D, Ok(by_digest.as_str()), Err(ReferenceError::Tag)),
            (&by_digest, "", Ok(by_digest.as_str()), Err(ReferenceError::TagWithDigest)),
            ("a", "b:c", Err(ReferenceError::Tag), Err(ReferenceError::Tag)),
        ] {
            let shown = |r: Result<Reference, ReferenceError>| r.map(|r| r.familiar());
            assert_eq!(shown(Reference::from_parts(reference, tag)), asked.map(str::to_owned), "{reference} {tag}");
            assert_eq!(
                shown(Reference::name_from_parts(reference, tag)),
                named.map(str::to_owned),
                "{reference} {tag}"
            );
        }
        assert_eq!(AnyReference::parse(&D[7..]).unwrap(), AnyReference::Id(D.into()));
    }

    #[test]
    fn refusals_are_dockers() {
        let long = "a/".repeat(128) + "a";
        let table: &[(&str, &str)] = &[
            ("", "invalid reference format"),
            ("a:", "invalid reference format"),
            ("a@", "invalid reference format"),
            ("-a", "invalid reference format"),
            ("a/", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("a..b", "invalid reference format"),
            ("a___b", "invalid reference format"),
            ("a b", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("-bad.io/a", "invalid reference format"),
            ("a:.tag", "invalid reference format"),
            ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
            ("x/Busybox:tag", "invalid reference format: repository name (x/Busybox) must be lowercase"),
            (&D[7..], &format!("invalid repository name ({}), cannot specify 64-byte hexadecimal strings", &D[7..])),
            ("a@sha256:0123456789abcdef0123456789abcdef", "invalid checksum digest length"),
            ("a@md5:0123456789abcdef0123456789abcdef", "unsupported digest algorithm"),
            (&long, "repository name must not be more than 255 characters"),
        ];
        for (text, message) in table {
            assert_eq!(Reference::parse(text).unwrap_err().to_string(), *message, "{text:?}");
        }
    }

    proptest! {
        /// No text panics, and what is taken reads the same again, in full and in short.
        #[test]
        fn what_is_taken_is_stable(text in "[a-zA-Z0-9./:@_\\-\\[\\] é]{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
                prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
            }
            AnyReference::parse(&text).ok();
        }
        #[test]
        fn any_text_is_survived(text in ".*") {
            Reference::parse(&text).ok();
            crate::instructions::apply_all(&mut crate::RunConfig::default(), &[text]).ok();
        }
    }
}
