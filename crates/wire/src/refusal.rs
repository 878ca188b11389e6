//! A "no" that reaches the user: what kind, and Docker's sentence.
use serde::{Deserialize, Serialize};

/// What kind of no; each has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalKind {
    /// 304: it is so already.
    NotModified,
    /// 400: the request is wrong.
    Invalid,
    /// 401: credentials are wrong or missing.
    Unauthorized,
    /// 403: never allowed.
    Forbidden,
    /// 404: no such thing.
    NotFound,
    /// 409: not in this state, or the name is taken.
    Conflict,
    /// 500: our fault, or Docker answers so ("update out of sequence").
    Internal,
    /// 501: not supported.
    Unimplemented,
    /// 503: not now.
    Unavailable,
}

impl RefusalKind {
    /// HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::NotModified => 304,
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Internal => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
        }
    }
    /// gRPC's word, as swarmkit's errors show it through Docker (`rpc error: code = NotFound desc = …`).
    pub fn grpc_code(self) -> &'static str {
        match self {
            Self::Invalid => "InvalidArgument",
            Self::Unauthorized => "Unauthenticated",
            Self::Forbidden => "PermissionDenied",
            Self::NotFound => "NotFound",
            Self::Conflict => "AlreadyExists",
            Self::Unimplemented => "Unimplemented",
            Self::Unavailable => "Unavailable",
            Self::NotModified | Self::Internal => "Unknown",
        }
    }
}

/// A "no" with its sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Refusal {
    /// What kind.
    pub kind: RefusalKind,
    /// For the user.
    pub message: String,
}

macro_rules! makers {
    ($($(#[$doc:meta])* $fun:ident => $kind:ident;)*) => {
        impl Refusal { $($(#[$doc])* pub fn $fun(message: impl Into<String>) -> Self {
            Self { kind: RefusalKind::$kind, message: message.into() }
        })* }
    };
}

makers! {
    /// 304.
    not_modified => NotModified;
    /// 400.
    invalid => Invalid;
    /// 401.
    unauthorized => Unauthorized;
    /// 403.
    forbidden => Forbidden;
    /// 404.
    not_found => NotFound;
    /// 409.
    conflict => Conflict;
    /// 500.
    internal => Internal;
    /// 501.
    unimplemented => Unimplemented;
    /// 503.
    unavailable => Unavailable;
}

impl Refusal {
    /// The same, worded as swarmkit's gRPC errors reach Docker's clients: `rpc error: code = X desc = …`.
    pub fn as_rpc(mut self) -> Self {
        self.message = format!("rpc error: code = {} desc = {}", self.kind.grpc_code(), self.message);
        self
    }
}
