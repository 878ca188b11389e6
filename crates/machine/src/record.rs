//! What is written down about a machine, so that it can be booted again.
use crate::error::{MachineError, Result};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::Path;

/// Addresses of machines start here: 192.168.99.100, as docker-machine's did.
pub const FIRST_OCTET: u8 = 100;
/// The seat that has no daemon: where a person sits.
pub const LAPTOP: &str = "laptop";

/// `machine.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Record {
    /// Host name.
    pub name: String,
    /// Address on the switch.
    pub address: Ipv4Addr,
    /// Seconds since 1970.
    pub created: u64,
}

/// `daemon.json`: the number names the process only together with its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DaemonProcess {
    /// Process number on the host.
    pub pid: u32,
    /// Clock ticks since the host's boot.
    pub started: u64,
}

impl DaemonProcess {
    /// Whether it is that process that has the number, and it has not ended.
    pub fn is_alive(&self) -> bool {
        kernel::process::start_time(self.pid).is_ok_and(|s| s == self.started) && !is_zombie(self.pid)
    }
}

fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|s| s.rsplit_once(") ").map(|(_, rest)| rest.starts_with(['Z', 'X'])))
        .unwrap_or(true)
}

/// Whether `name` can be a host name.
///
/// # Errors
/// [`MachineError::BadName`] and [`MachineError::Reserved`].
pub fn check_name(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if name.len() > 63 || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(fine) {
        return Err(MachineError::BadName(name.to_owned()));
    }
    if name == LAPTOP {
        return Err(MachineError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// The lowest address that no record has.
pub fn free_address(taken: &[Record]) -> Option<Ipv4Addr> {
    (FIRST_OCTET..=254).map(|o| Ipv4Addr::new(192, 168, 99, o)).find(|a| taken.iter().all(|r| r.address != *a))
}

/// Reads a JSON file.
pub(crate) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> std::io::Result<T> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// Writes a JSON file whole or not at all.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| MachineError::file("write", path)(e.into()))?;
    let draft = path.with_extension("new");
    std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, path)).map_err(MachineError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names() {
        for good in ["vm-manager", "a", "node1.lab", "9"] {
            check_name(good).unwrap();
        }
        for bad in ["", "-a", ".switch", "a/b", "a b", "laptop", &"x".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_lowest_free_address_is_given() {
        let record = |o| Record { name: format!("m{o}"), address: Ipv4Addr::new(192, 168, 99, o), created: 0 };
        assert_eq!(free_address(&[]), Some(Ipv4Addr::new(192, 168, 99, 100)));
        assert_eq!(free_address(&[record(100), record(102)]), Some(Ipv4Addr::new(192, 168, 99, 101)));
        assert_eq!(free_address(&(100..=254).map(record).collect::<Vec<_>>()), None);
    }
}
