//! Capabilities by name: Docker's defaults, `--cap-add` and `--cap-drop`.
use crate::error::LaunchError;
use std::collections::BTreeSet;

/// All names; the position is the kernel's number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What every container gets.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Every capability.
pub(crate) fn all() -> BTreeSet<String> {
    NAMES.iter().map(|name| (*name).to_owned()).collect()
}

/// The bit mask of a set.
pub(crate) fn mask(names: &BTreeSet<String>) -> u64 {
    NAMES.iter().enumerate().filter(|(_, name)| names.contains(**name)).fold(0, |mask, (bit, _)| mask | 1 << bit)
}

/// The set of a bit mask.
pub(crate) fn names(mask: u64) -> BTreeSet<String> {
    NAMES.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, name)| (*name).to_owned()).collect()
}

/// What a container gets, by Docker's rules: with `ALL` among the added ones the dropped ones are taken from
/// everything, with `ALL` among the dropped ones only the added ones are left.
pub(crate) fn chosen(privileged: bool, add: &[String], drop: &[String]) -> Result<BTreeSet<String>, LaunchError> {
    if privileged {
        return Ok(all());
    }
    let (add_all, add) = parse(add, "CapAdd")?;
    let (drop_all, drop) = parse(drop, "CapDrop")?;
    let base = if add_all {
        all()
    } else if drop_all {
        return Ok(add);
    } else {
        DEFAULT.iter().map(|name| (*name).to_owned()).collect()
    };
    Ok(base.difference(&drop).cloned().chain(add).collect())
}

fn parse(list: &[String], field: &str) -> Result<(bool, BTreeSet<String>), LaunchError> {
    let mut names = BTreeSet::new();
    let mut everything = false;
    for given in list {
        let upper = given.trim().to_ascii_uppercase();
        if upper == "ALL" || upper == "CAP_ALL" {
            everything = true;
            continue;
        }
        let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if !NAMES.contains(&name.as_str()) {
            return Err(LaunchError {
                message: format!("invalid {field}: unknown capability: \"{name}\""),
                exit_code: 128,
            });
        }
        names.insert(name);
    }
    Ok((everything, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn choosing() {
        for (privileged, add, drop, want) in [
            (false, vec![], vec![], 0xa804_25fb_u64),
            (false, vec!["NET_ADMIN"], vec![], 0xa804_35fb),
            (false, vec![], vec!["cap_net_raw"], 0xa804_05fb),
            (false, vec![], vec!["ALL"], 0),
            (false, vec!["chown"], vec!["all"], 1),
            (false, vec!["ALL"], vec!["CHOWN"], 0x1ff_ffff_fffe),
            (true, vec![], vec!["ALL"], 0x1ff_ffff_ffff),
        ] {
            let got = mask(&chosen(privileged, &list(&add), &list(&drop)).unwrap());
            assert_eq!(got, want, "{privileged} {add:?} {drop:?}: {got:x}");
        }
        let error = chosen(false, &list(&["fly"]), &[]).unwrap_err();
        assert_eq!(error.message, "invalid CapAdd: unknown capability: \"CAP_FLY\"");
    }
}
