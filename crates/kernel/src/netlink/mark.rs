//! Whose an interface is, written on it: several engines may share a namespace, and names alone do not tell them apart.
use super::{Link, Netlink, Result};
use std::path::{Path, PathBuf};

/// What the alias of a marked interface begins with.
const WORD: &str = "shoal ";
/// Longest interface name.
const NAME_MAX: usize = 15;

/// The engine that keeps its data in this directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    dir: PathBuf,
    tag: String,
}

impl Mark {
    /// Of the engine that keeps its data here.
    pub fn new(dir: &Path) -> Self {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let bytes = dir.as_os_str().as_encoded_bytes();
        let hash = bytes.iter().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
        Self { dir, tag: format!("{:04x}", (hash >> 16) ^ (hash & 0xffff)) }
    }

    /// Four digits that tell this engine's interfaces from another's.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The alias.
    pub fn text(&self) -> String {
        format!("{WORD}{}", self.dir.display())
    }

    /// Whether any engine has marked it.
    pub fn is_marked(link: &Link) -> bool {
        link.alias.as_deref().is_some_and(|a| a.starts_with(WORD))
    }

    /// Whether this engine has.
    pub fn is_own(&self, link: &Link) -> bool {
        link.alias.as_deref() == Some(&self.text())
    }

    /// The data directory of another engine, if it made this one and still exists.
    pub fn other(&self, link: &Link) -> Option<PathBuf> {
        let dir = PathBuf::from(link.alias.as_deref()?.strip_prefix(WORD)?);
        (dir != self.dir && dir.exists()).then_some(dir)
    }

    /// The name itself, or, where it is another engine's, one of our own that resembles it.
    ///
    /// # Errors
    /// When the kernel refuses the question.
    pub fn choose(&self, netlink: &Netlink, wanted: &str) -> Result<String> {
        let stem = wanted.get(..NAME_MAX - 1 - self.tag.len()).unwrap_or(wanted);
        let own = format!("{stem}-{}", self.tag);
        if netlink.link_by_name(&own)?.is_some_and(|l| self.is_own(&l)) {
            return Ok(own);
        }
        let taken = netlink.link_by_name(wanted)?.is_some_and(|l| self.other(&l).is_some());
        Ok(if taken { own } else { wanted.to_owned() })
    }

    /// Writes it on an interface.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn put(&self, netlink: &Netlink, link: &Link) -> Result<()> {
        if self.is_own(link) {
            return Ok(());
        }
        netlink.set_alias(link.index, &self.text())
    }
}
