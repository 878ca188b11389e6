//! `--chown=user[:group]`: names are looked up in the image that is being built.
use crate::error::ImageError;
use kernel::beneath::Root;
use std::{io::Read, path::Path};

const FILE_BYTES_MAX: u64 = 16 << 20;

/// User and group id.
pub(crate) fn parse(text: &str, root: &Root) -> Result<(u32, u32), ImageError> {
    let bad = |why: String| {
        ImageError::InvalidArgument(format!("unable to convert uid/gid chown string to host mapping: {why}"))
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) if !user.is_empty() && !group.is_empty() => (user, group),
        None if !text.is_empty() => (text, text),
        _ => return Err(bad(format!("invalid chown string {text:?}"))),
    };
    let uid = id(user, root, "etc/passwd")
        .ok_or_else(|| bad(format!("can't find uid for user {user}: no such user: {user}")))?;
    let gid = id(group, root, "etc/group")
        .ok_or_else(|| bad(format!("can't find gid for group {group}: no such group: {group}")))?;
    Ok((uid, gid))
}

fn id(name: &str, root: &Root, file: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let mut text = Vec::new();
    root.file(Path::new(file)).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}
