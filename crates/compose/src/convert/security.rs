//! What makes a container's walls: honoured, or refused, never left out.
use super::mount::absolute;
use crate::error::Place;
use crate::read::At;
use crate::{ComposeError, Surroundings};
use model::Privileges;
use std::path::Path;

type Read<T> = Result<T, ComposeError>;

/// `security_opt` and `userns_mode`.
pub(super) fn privileges(service: &At<'_>, around: &Surroundings<'_>) -> Read<Option<Privileges>> {
    if let Some(mode) = service.get("userns_mode")
        && mode.text()? != "host"
    {
        return mode.wrong(format!(
            "user namespace {:?} is not supported: only \"host\" is; remove the key, or set user, cap_drop or read_only",
            mode.text()?
        ));
    }
    let Some(options) = service.get("security_opt") else { return Ok(None) };
    let mut privileges = Privileges::default();
    for item in options.items()? {
        let text = item.text()?;
        let (key, value) = text.split_once(['=', ':']).unwrap_or((&text, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => privileges.no_new_privileges = true,
            ("no-new-privileges", "false") => privileges.no_new_privileges = false,
            ("seccomp", "unconfined") => privileges.seccomp_mode = "unconfined".into(),
            ("seccomp", path) if !path.is_empty() => {
                let path = absolute(around, Path::new(path));
                let place = Place::at(&item.path);
                privileges.seccomp_profile =
                    (around.read)(&path).map_err(|source| ComposeError::File { place, path, source })?;
                privileges.seccomp_mode = "custom".into();
            }
            ("apparmor", "unconfined") => privileges.apparmor_mode = "disabled".into(),
            _ => {
                return item.wrong(format!(
                    "security option {text:?} cannot be honoured, and leaving it out would weaken the container: \
                     no-new-privileges, seccomp=unconfined, seccomp=PROFILE.json and apparmor=unconfined are known"
                ));
            }
        }
    }
    Ok((privileges != Privileges::default()).then_some(privileges))
}
