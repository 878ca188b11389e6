//! Kernel settings under /proc/sys. The network ones are those of the calling thread's network namespace.
use std::io;
use std::path::PathBuf;

/// A setting could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{action} sysctl {name}")]
pub struct SysctlError {
    /// "read" or "write".
    pub action: &'static str,
    /// Dotted name.
    pub name: String,
    /// Why.
    pub source: io::Error,
}

/// Where a setting is: dots and slashes change places, as in sysctl(8), so that `net.ipv4.conf.eth0/1.rp_filter` is
/// that of `eth0.1`.
fn path(name: &str) -> io::Result<PathBuf> {
    let slashed: String = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect();
    if name.is_empty() || slashed.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name of a setting"));
    }
    Ok(PathBuf::from("/proc/sys").join(slashed))
}

/// Writes a setting.
///
/// # Errors
/// When there is no such setting, or the value is refused.
pub fn write(name: &str, value: &str) -> Result<(), SysctlError> {
    path(name).and_then(|p| std::fs::write(p, value)).map_err(|source| SysctlError {
        action: "write",
        name: name.to_owned(),
        source,
    })
}

/// Reads a setting, without the final newline.
///
/// # Errors
/// When there is no such setting.
pub fn read(name: &str) -> Result<String, SysctlError> {
    path(name).and_then(std::fs::read_to_string).map(|t| t.trim_end().to_owned()).map_err(|source| SysctlError {
        action: "read",
        name: name.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::NetNs;

    #[test]
    fn a_setting_is_that_of_the_namespace() {
        let ns = NetNs::anonymous().unwrap();
        let before = read("net.ipv4.ip_forward").unwrap();
        ns.run(|| {
            write("net.ipv4.ip_forward", "1").unwrap();
            assert_eq!(read("net.ipv4.ip_forward").unwrap(), "1");
            write("net.ipv4.conf.lo.rp_filter", "0").unwrap();
        })
        .unwrap();
        assert_eq!(read("net.ipv4.ip_forward").unwrap(), before);
    }

    #[test]
    fn names_cannot_climb() {
        assert!(write("net.//.//.//etc.passwd", "x").is_err());
        assert!(path("net.ipv4.conf.eth0/1.rp_filter").unwrap().ends_with("eth0.1/rp_filter"));
        assert!(read("").is_err());
    }
}
