//! System call filters: Docker's profile format, its default profile, and their compiled form.
mod default_profile;

pub(crate) use default_profile::default_profile;

use crate::error::LaunchError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// A profile in Docker's JSON format.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Profile {
    pub(crate) default_action: String,
    pub(crate) default_errno_ret: Option<u32>,
    pub(crate) arch_map: Vec<ArchMap>,
    pub(crate) architectures: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) syscalls: Vec<Rule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ArchMap {
    architecture: String,
    #[serde(deserialize_with = "or_default")]
    sub_architectures: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) names: Vec<String>,
    pub(crate) action: String,
    pub(crate) errno_ret: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) args: Vec<Arg>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) includes: Condition,
    #[serde(deserialize_with = "or_default")]
    pub(crate) excludes: Condition,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Arg {
    pub(crate) index: u32,
    pub(crate) value: u64,
    pub(crate) value_two: u64,
    pub(crate) op: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    #[serde(deserialize_with = "or_default")]
    pub(crate) caps: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) arches: Vec<String>,
    pub(crate) min_kernel: String,
}

/// Go writes an empty list as `null`.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Go's name of the architecture this binary was built for.
const GO_ARCH: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };

impl Profile {
    /// Reads Docker's JSON.
    pub(crate) fn parse(json: &str) -> Result<Self, LaunchError> {
        serde_json::from_str(json).map_err(|error| refused(format!("decoding seccomp profile failed: {error}")))
    }

    /// Compiles to an array of `sock_filter` for a process with these capabilities.
    pub(crate) fn compile(&self, capabilities: &BTreeSet<String>) -> Result<Vec<u8>, LaunchError> {
        let failed =
            |error: libseccomp::error::SeccompError| refused(format!("cannot build the seccomp filter: {error}"));
        let default = action(&self.default_action, self.default_errno_ret)?;
        let mut filter = ScmpFilterContext::new(default).map_err(failed)?;
        filter.set_ctl_nnp(false).map_err(failed)?;
        for arch in self.arch_names() {
            filter.add_arch(arch).map_err(failed)?;
        }
        let mut unknown = BTreeSet::new();
        for rule in &self.syscalls {
            if !rule.applies(capabilities) {
                continue;
            }
            let action = action(&rule.action, rule.errno_ret)?;
            if action == default {
                continue;
            }
            let args = rule.args.iter().map(Arg::compare).collect::<Result<Vec<_>, _>>()?;
            let mut indices = BTreeSet::new();
            let repeated = rule.args.iter().any(|arg| !indices.insert(arg.index));
            for name in rule.names.iter().chain((!rule.name.is_empty()).then_some(&rule.name)) {
                let Ok(call) = ScmpSyscall::from_name(name) else {
                    // Too new for the library; such calls have the same number everywhere.
                    let number = NEW_CALLS.iter().find(|(new, _)| new == name).map(|(_, number)| *number);
                    unknown.extend(number.filter(|_| args.is_empty() && action == ScmpAction::Allow));
                    continue;
                };
                // The library takes each argument once per rule; alternatives become rules of their own.
                if args.is_empty() {
                    filter.add_rule(action, call).map_err(failed)?;
                } else if repeated {
                    for arg in &args {
                        filter.add_rule_conditional(action, call, std::slice::from_ref(arg)).map_err(failed)?;
                    }
                } else {
                    filter.add_rule_conditional(action, call, &args).map_err(failed)?;
                }
            }
        }
        let program = export(&filter).map_err(|error| refused(format!("cannot build the seccomp filter: {error}")))?;
        Ok([prelude(default, &unknown), program].concat())
    }

    fn arch_names(&self) -> Vec<ScmpArch> {
        let native = if cfg!(target_arch = "x86_64") { "SCMP_ARCH_X86_64" } else { "SCMP_ARCH_AARCH64" };
        let subs = self.arch_map.iter().filter(|map| map.architecture == native).flat_map(|map| &map.sub_architectures);
        subs.chain(&self.architectures).filter_map(|name| name.parse().ok()).collect()
    }
}

/// The library writes programs to files only, so it gets one in memory.
fn export(filter: &ScmpFilterContext) -> io::Result<Vec<u8>> {
    let mut file = File::from(memfd_create(c"seccomp", MFdFlags::MFD_CLOEXEC)?);
    filter.export_bpf(&file).map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(0))?;
    let mut program = Vec::new();
    file.read_to_end(&mut program)?;
    Ok(program)
}

/// What comes before the library's program: calls that it does not know yet are allowed by number, and those that are
/// newer than the profile look missing, not forbidden, because C libraries fall back only then.
fn prelude(default: ScmpAction, allowed: &BTreeSet<u32>) -> Vec<u8> {
    const NEWEST_KNOWN: u32 = 470;
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const GREATER: u16 = 0x25;
    const GREATER_OR_EQUAL: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const NO_SUCH_CALL: u32 = 0x0005_0000 | 38;
    if !matches!(default, ScmpAction::Errno(_)) {
        return Vec::new();
    }
    let (native, compat): (u32, u32) =
        if cfg!(target_arch = "x86_64") { (0xc000_003e, 0x4000_0003) } else { (0xc000_00b7, 0x4000_0028) };
    let count = allowed.len() as u8;
    // Instructions between the fifth one and the end.
    let rest = count + 3;
    let mut program = vec![
        (LOAD, 0, 0, 4),
        (EQUAL, 1, 0, native),
        (EQUAL, 0, rest + 2, compat),
        (LOAD, 0, 0, 0),
        // The x32 table has numbers of its own.
        (GREATER_OR_EQUAL, rest, 0, 0x4000_0000),
    ];
    program.extend(allowed.iter().enumerate().map(|(index, number)| (EQUAL, count - index as u8 + 1, 0, *number)));
    program.extend([(GREATER, 0, 2, NEWEST_KNOWN), (RETURN, 0, 0, NO_SUCH_CALL), (RETURN, 0, 0, ALLOW)]);
    let encode = |(code, jt, jf, k): (u16, u8, u8, u32)| {
        let [c0, c1] = code.to_ne_bytes();
        let [k0, k1, k2, k3] = k.to_ne_bytes();
        [c0, c1, jt, jf, k0, k1, k2, k3]
    };
    program.into_iter().flat_map(encode).collect()
}

impl Rule {
    fn applies(&self, capabilities: &BTreeSet<String>) -> bool {
        let here = |arches: &[String]| arches.iter().any(|arch| arch == GO_ARCH);
        self.includes.caps.iter().all(|cap| capabilities.contains(cap))
            && !self.excludes.caps.iter().any(|cap| capabilities.contains(cap))
            && (self.includes.arches.is_empty() || here(&self.includes.arches))
            && !here(&self.excludes.arches)
            // Every kernel that runs us is newer than any version a profile asks for.
            && self.excludes.min_kernel.is_empty()
    }
}

impl Arg {
    fn compare(&self) -> Result<ScmpArgCompare, LaunchError> {
        let op = match self.op.as_str() {
            "SCMP_CMP_NE" => ScmpCompareOp::NotEqual,
            "SCMP_CMP_LT" => ScmpCompareOp::Less,
            "SCMP_CMP_LE" => ScmpCompareOp::LessOrEqual,
            "SCMP_CMP_EQ" => ScmpCompareOp::Equal,
            "SCMP_CMP_GE" => ScmpCompareOp::GreaterEqual,
            "SCMP_CMP_GT" => ScmpCompareOp::Greater,
            "SCMP_CMP_MASKED_EQ" => {
                return Ok(ScmpArgCompare::new(self.index, ScmpCompareOp::MaskedEqual(self.value), self.value_two));
            }
            other => return Err(refused(format!("unknown seccomp operator {other}"))),
        };
        Ok(ScmpArgCompare::new(self.index, op, self.value))
    }
}

fn action(name: &str, errno: Option<u32>) -> Result<ScmpAction, LaunchError> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => ScmpAction::Allow,
        "SCMP_ACT_ERRNO" => ScmpAction::Errno(errno.unwrap_or(1) as i32),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => ScmpAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => ScmpAction::KillProcess,
        "SCMP_ACT_TRAP" => ScmpAction::Trap,
        "SCMP_ACT_TRACE" => ScmpAction::Trace(errno.unwrap_or(1) as u16),
        "SCMP_ACT_LOG" => ScmpAction::Log,
        other => return Err(refused(format!("unsupported seccomp action {other}"))),
    })
}

/// Calls that an older library does not know, with their numbers.
const NEW_CALLS: [(&str, u32); 23] = [
    ("memfd_secret", 447),
    ("process_mrelease", 448),
    ("futex_waitv", 449),
    ("set_mempolicy_home_node", 450),
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
];

fn refused(message: String) -> LaunchError {
    LaunchError { message, exit_code: 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn rules_follow_capabilities() {
        let profile = default_profile();
        let applies = |call: &str, with: &[&str]| {
            profile.syscalls.iter().any(|rule| {
                rule.action == "SCMP_ACT_ALLOW" && rule.names.iter().any(|n| n == call) && rule.applies(&caps(with))
            })
        };
        assert!(applies("openat2", &[]));
        assert!(!applies("mount", &[]));
        assert!(applies("mount", &["CAP_SYS_ADMIN"]));
        assert!(!applies("chroot", &[]));
        assert!(applies("chroot", &["CAP_SYS_CHROOT"]));
        assert!(applies("ptrace", &[]));
        assert!(!applies("clone3", &[]));
        assert!(!applies("keyctl", &["CAP_SYS_ADMIN"]));
    }

    #[test]
    fn the_default_profile_compiles() {
        let program = default_profile().compile(&caps(&["CAP_SYS_CHROOT"])).unwrap();
        assert!(program.len() > 1000 && program.len().is_multiple_of(8));
    }

    #[test]
    fn a_profile_of_docker_is_read() {
        let profile = Profile::parse(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","args":null}]}"#,
        )
        .unwrap();
        assert!(!profile.compile(&caps(&[])).unwrap().is_empty());
        assert!(Profile::parse("nonsense").is_err());
    }
}
