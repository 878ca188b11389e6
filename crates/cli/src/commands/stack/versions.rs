//! Secrets and configs cannot change, so a file that changed gets a new version: a name of its own, made of the content.
//!
//! ```text
//!  nothing of that name ──► create `app_key`
//!  the content is there ──► use it (also an old version that comes back)
//!  another content      ──► create `app_key-3f9c21d07a` ──► the service's spec changes ──► its tasks are rolled
//! ```
//! A name that the file chose itself (`name:`) is kept: then the engine refuses another content.
use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
use std::num::NonZeroU32;
use wire::engine::secret::Secret;

/// The fingerprint of the content.
pub(super) const LABEL_CONTENT: &str = "com.shoal.content";
/// The name in the file, of every version but the first.
pub(super) const LABEL_VERSION_OF: &str = "com.shoal.version-of";

/// Labels are no secret, so a short password must not be found by trying all of them: each try shall cost this much.
const ROUNDS: NonZeroU32 = NonZeroU32::new(50_000).expect("not zero");

/// The content's fingerprint, 32 hexadecimal digits. The name goes in: equal passwords look different.
pub(super) fn fingerprint(name: &str, templating: &str, data: &[u8]) -> String {
    let salt = format!("{name}\0{templating}");
    let mut out = [0u8; 16];
    derive(PBKDF2_HMAC_SHA256, ROUNDS, salt.as_bytes(), data, &mut out);
    out.iter().map(|b| format!("{b:02x}")).collect()
}

/// What to do about one secret or config.
#[derive(Debug, PartialEq)]
pub(super) enum Choice<'o> {
    /// The content is there.
    Use(&'o Secret),
    /// It was made by somebody who left no fingerprint: the engine can tell whether it is the same.
    Ask(&'o Secret),
    /// To be made under this name.
    Create(String),
}

/// Chooses. `there`: all of the swarm's.
pub(super) fn choose<'o>(name: &str, fingerprint: &str, fixed: bool, there: &'o [Secret]) -> Choice<'o> {
    let plain = there.iter().find(|o| o.spec.name == name);
    if fixed {
        return plain.map_or_else(|| Choice::Create(name.to_owned()), Choice::Ask);
    }
    let is_version = |o: &&Secret| o.spec.name == name || base(o) == name;
    let same = |o: &&Secret| o.spec.labels.get(LABEL_CONTENT).is_some_and(|f| f == fingerprint);
    match (there.iter().filter(is_version).find(same), plain) {
        (Some(found), _) => Choice::Use(found),
        (None, Some(plain)) if !plain.spec.labels.contains_key(LABEL_CONTENT) => Choice::Ask(plain),
        (None, Some(_)) => Choice::Create(versioned(name, fingerprint)),
        (None, None) => Choice::Create(name.to_owned()),
    }
}

/// The name of a further version; names have at most 64 characters.
pub(super) fn versioned(name: &str, fingerprint: &str) -> String {
    let short: String = name.chars().take(53).collect();
    format!("{short}-{}", &fingerprint[..10])
}

/// The name in the file.
pub(super) fn base(object: &Secret) -> &str {
    object.spec.labels.get(LABEL_VERSION_OF).map_or(object.spec.name.as_str(), String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, labels: serde_json::Value) -> Secret {
        wire::engine::lenient::from_value(json!({"ID": name, "Spec": {"Name": name, "Labels": labels}})).unwrap()
    }

    #[test]
    fn a_content_has_one_fingerprint_and_a_name_of_its_own() {
        let f = fingerprint("app_key", "", b"hush");
        assert_eq!(f, fingerprint("app_key", "", b"hush"));
        let others = [("app_kez", "", &b"hush"[..]), ("app_key", "golang", b"hush"), ("app_key", "", b"hush2")];
        for (name, templating, data) in others {
            assert_ne!(f, fingerprint(name, templating, data));
        }
        assert_eq!(f.len(), 32);
        assert_eq!(versioned(&"x".repeat(64), &f).len(), 64);
    }

    #[test]
    fn versions_are_chosen_by_content() {
        let first = object("app_key", json!({LABEL_CONTENT: "aaaaaaaaaaaa"}));
        let second = object("app_key-bbbbbbbbbb", json!({LABEL_CONTENT: "bbbbbbbbbbbb", LABEL_VERSION_OF: "app_key"}));
        let foreign = object("app_key", json!({}));
        let other = object("app_keyring", json!({LABEL_CONTENT: "cccccccccccc"}));
        let both = [first.clone(), second.clone(), other.clone()];
        let choose = |f: &str, there: &[Secret]| match choose("app_key", f, false, there) {
            Choice::Use(o) => format!("use {}", o.id),
            Choice::Ask(o) => format!("ask {}", o.id),
            Choice::Create(name) => format!("create {name}"),
        };
        assert_eq!(choose("aaaaaaaaaaaa", &[]), "create app_key");
        assert_eq!(choose("aaaaaaaaaaaa", &both), "use app_key");
        assert_eq!(choose("bbbbbbbbbbbb", &both), "use app_key-bbbbbbbbbb");
        assert_eq!(
            choose("cccccccccccc", &both),
            "create app_key-cccccccccc",
            "another object's content is not this one's"
        );
        assert_eq!(choose("aaaaaaaaaaaa", &[foreign]), "ask app_key");
        assert_eq!(choose("aaaaaaaaaaaa", &[second]), "create app_key", "the plain name is free");
        assert_eq!(super::choose("key_v1", "x", true, &[other]), Choice::Create("key_v1".into()));
        assert_eq!(super::choose("app_key", "x", true, &both), Choice::Ask(&first));
    }
}
