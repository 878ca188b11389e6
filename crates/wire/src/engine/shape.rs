//! The words in which the border types are written down, and the small value types they share.
use model::Timestamp;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Writes a border struct as Docker's Go source does: `field: Type = "JSONName";`, with `omitempty` where Go has it.
/// Every field has a zero value, so that a body may leave it out.
macro_rules! shapes {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty = $json:literal $($omit:ident)? ;)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[doc = concat!("`", $json, "`")]
                $(
                    #[doc = concat!("(", stringify!($omit), ")")]
                    #[serde(skip_serializing_if = "crate::engine::shape::is_zero")]
                )?
                #[serde(rename = $json)]
                pub $field: $ty,
            )*
        }
    )*};
}
pub(crate) use shapes;

/// Whether a value is the zero value (`omitempty`).
pub fn is_zero<T: Default + PartialEq>(v: &T) -> bool {
    *v == T::default()
}

/// String map.
pub type Map = BTreeMap<String, String>;

/// `struct{}`: an object without content; `null` is read too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A set as Go writes it: the values are empty objects.
pub type Set = BTreeMap<String, Empty>;

/// An instant, as RFC 3339 with nanoseconds; never: `0001-01-01T00:00:00Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

/// Go's zero time.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_never() {
            return f.write_str(NEVER);
        }
        match jiff::Timestamp::from_nanosecond(i128::from(self.0.0)) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => f.write_str(NEVER),
        }
    }
}

impl std::str::FromStr for Time {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        if s.is_empty() || s.starts_with("0001-01-01T00:00:00") {
            return Ok(Self::default());
        }
        let t: jiff::Timestamp = s.parse().map_err(|_| format!("parsing time \"{s}\" as RFC 3339: cannot parse"))?;
        Ok(Self(Timestamp(i64::try_from(t.as_nanosecond()).unwrap_or(i64::MAX))))
    }
}

impl From<Timestamp> for Time {
    fn from(t: Timestamp) -> Self {
        Self(t)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `strslice.StrSlice`: a list of words; a single text is read as a list of one. `None` is written as `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StrSlice(pub Option<Vec<String>>);

impl StrSlice {
    /// The words, none for `null`.
    pub fn words(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Vec<String>> for StrSlice {
    fn from(v: Vec<String>) -> Self {
        Self(Some(v))
    }
}

impl Serialize for StrSlice {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> Deserialize<'de> for StrSlice {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = StrSlice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<StrSlice, E> {
                Ok(StrSlice(Some(vec![v.to_owned()])))
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<StrSlice, E> {
                Ok(StrSlice(None))
            }
            fn visit_none<E: serde::de::Error>(self) -> Result<StrSlice, E> {
                Ok(StrSlice(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StrSlice, A::Error> {
                let mut words = Vec::new();
                while let Some(w) = seq.next_element()? {
                    words.push(w);
                }
                Ok(StrSlice(Some(words)))
            }
        }
        d.deserialize_any(Words)
    }
}

/// Bytes, as base64 text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        s.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        decode_go_base64(&String::deserialize(d)?).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Base64 as Go's JSON reads it: the standard alphabet, padded, with line ends wherever they are.
fn decode_go_base64(text: &str) -> Result<Vec<u8>, String> {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
    use base64::Engine as _;
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    base64::engine::general_purpose::STANDARD.decode(&plain).map_err(|e| {
        let at = match e {
            InvalidByte(at, _) | InvalidLastSymbol(at, _) => at,
            // Go names the beginning of the group of four that is not complete.
            InvalidLength(_) | InvalidPadding => plain.len().saturating_sub(1) / 4 * 4,
        };
        format!("illegal base64 data at input byte {at}")
    })
}

/// Base64 of any dialect: standard or URL alphabet, padded or not.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let plain: String = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(plain).ok()
}
