//! Lines of a progress stream (`jsonmessage.JSONMessage`): pull, push, load, import, build.
use super::shape::shapes;

shapes! {
    /// One line.
    Progress {
        stream: String = "stream" omitempty;
        status: String = "status" omitempty;
        progress_detail: Option<ProgressDetail> = "progressDetail" omitempty;
        progress: String = "progress" omitempty;
        id: String = "id" omitempty;
        error_detail: Option<ErrorDetail> = "errorDetail" omitempty;
        error: String = "error" omitempty;
        aux: Option<serde_json::Value> = "aux" omitempty;
    }
    /// How far.
    ProgressDetail { current: i64 = "current" omitempty; total: i64 = "total" omitempty; }
    /// What went wrong.
    ErrorDetail { code: i64 = "code" omitempty; message: String = "message"; }
}

impl Progress {
    /// A line that says how it stands: `{"status": …, "id": …}`.
    pub fn status(status: impl Into<String>, id: impl Into<String>) -> Self {
        Self { status: status.into(), id: id.into(), ..Self::default() }
    }
    /// A status with its bar.
    pub fn at(status: impl Into<String>, id: impl Into<String>, current: i64, total: i64) -> Self {
        Self { progress_detail: Some(ProgressDetail { current, total }), ..Self::status(status, id) }
    }
    /// Free text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { stream: text.into(), ..Self::default() }
    }
    /// The last line of what failed.
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { error: message.clone(), error_detail: Some(ErrorDetail { code: 0, message }), ..Self::default() }
    }
}
