//! The options of the `local` driver: `type`, `o` and `device`, as `mount(8)` takes them.
use std::collections::BTreeMap;
use wire::refusal::Refusal;

/// What is mounted on a volume's directory while containers use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPlan {
    /// Filesystem, `tmpfs`, `nfs`, `none`.
    pub kind: String,
    /// What is mounted.
    pub device: String,
    /// Comma-separated options.
    pub options: String,
}

/// Docker's rules: each of the three options wants the ones it makes no sense without.
pub(super) fn check(options: &BTreeMap<String, String>) -> Result<(), Refusal> {
    const REQUIRED: [(&str, &[&str]); 3] = [("device", &["type"]), ("type", &["device"]), ("o", &["device", "type"])];
    for name in options.keys() {
        match name.as_str() {
            "type" | "o" | "device" => {}
            "size" => return Err(Refusal::invalid("quota size requested but no quota support")),
            _ => return Err(Refusal::invalid(format!("invalid option: {name:?}"))),
        }
    }
    for (name, wanted) in REQUIRED {
        if let Some(missing) = wanted.iter().find(|w| options.contains_key(name) && !options.contains_key(**w)) {
            return Err(Refusal::invalid(format!("missing required option: {missing:?}")));
        }
    }
    Ok(())
}

/// What to mount; nothing for a plain volume.
pub(super) fn plan(options: &BTreeMap<String, String>) -> Option<MountPlan> {
    let get = |name: &str| options.get(name).cloned().unwrap_or_default();
    let plan = MountPlan { kind: get("type"), device: get("device"), options: get("o") };
    (!plan.device.is_empty()).then_some(plan)
}
