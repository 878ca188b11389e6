//! Programs on interfaces: tcx links, pinned, where the kernel has them; otherwise a clsact filter, with its program
//! pinned in the link's place.
use crate::error::DatapathError;
use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use kernel::netlink::Netlink;
use std::path::{Path, PathBuf};

/// A gate of the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Container,
    Overlay,
    Outside,
    Exit,
}

impl Gate {
    const ALL: [Self; 4] = [Self::Container, Self::Overlay, Self::Outside, Self::Exit];

    pub fn program(self) -> &'static str {
        match self {
            Self::Container => "from_container",
            Self::Overlay => "from_overlay",
            Self::Outside => "from_outside",
            Self::Exit => "from_exit",
        }
    }
}

/// Our place among a device's filters, where clsact must do.
const PRIORITY: u16 = 0x5348;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// The file of a link: which program, on which interface.
pub fn pin_path(dir: &Path, gate: Gate, ifindex: u32) -> PathBuf {
    dir.join(format!("link-{}-{ifindex}", gate.program()))
}

fn parse_pin(name: &str) -> Option<(Gate, u32)> {
    let (program, ifindex) = name.strip_prefix("link-")?.rsplit_once('-')?;
    Some((Gate::ALL.into_iter().find(|g| g.program() == program)?, ifindex.parse().ok()?))
}

/// What an earlier run has attached.
pub fn pinned(dir: &Path) -> Vec<(Gate, u32)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| parse_pin(e.file_name().to_str()?)).collect()
}

pub fn interface_name(ifindex: u32) -> Result<String, DatapathError> {
    let link = Netlink::open().and_then(|n| n.link_by_index(ifindex)).map_err(DatapathError::Interfaces)?;
    Ok(link.ok_or(DatapathError::NoInterface(ifindex))?.name)
}

pub fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, DatapathError> {
    let missing = || DatapathError::Program { name, source: Box::new(aya::programs::ProgramError::NotLoaded) };
    let program = ebpf.program_mut(name).ok_or_else(missing)?;
    program.try_into().map_err(|source| DatapathError::Program { name, source: Box::new(source) })
}

/// Whether the running kernel is at least this.
pub fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

fn has_tcx() -> bool {
    kernel_at_least(6, 6)
}

/// Puts the gate's program on an interface; one that is there already is replaced without a gap.
pub fn attach(ebpf: &mut Ebpf, dir: &Path, gate: Gate, ifindex: u32) -> Result<(), DatapathError> {
    let interface = interface_name(ifindex)?;
    let name = gate.program();
    let program = program(ebpf, name)?;
    let path = pin_path(dir, gate, ifindex);
    if !has_tcx() {
        attach_filter(program, name, &interface)?;
        // The filter lives with its device; the pin is the note that it is there, for whoever comes after us.
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(DatapathError::PinFile { path, source: e });
            }
            _ => return program.pin(&path).map_err(|source| DatapathError::Pin { path, source }),
        }
    }
    if path.exists() {
        if replace(program, &path) {
            return Ok(());
        }
        // The link of an interface that is gone; this one only has the same number.
        std::fs::remove_file(&path).map_err(|source| DatapathError::PinFile { path: path.clone(), source })?;
    }
    let fail = |source| DatapathError::Attach { program: name, interface: interface.clone(), source: Box::new(source) };
    let order = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program.attach_with_options(&interface, TcAttachType::Ingress, order).map_err(fail)?;
    let link: FdLink =
        program.take_link(id).map_err(fail)?.try_into().map_err(|_| fail(aya::programs::ProgramError::NotAttached))?;
    link.pin(&path).map_err(|source| DatapathError::Pin { path, source })?;
    Ok(())
}

/// Gives a pinned link our program. False if its interface is gone.
fn replace(program: &mut SchedClassifier, path: &Path) -> bool {
    let Ok(pinned) = PinnedLink::from_pin(path) else { return false };
    let Ok(link) = SchedClassifierLink::try_from(FdLink::from(pinned)) else { return false };
    match program.attach_to_link(link) {
        Ok(id) => {
            // The pin keeps it; our handle may go.
            drop(program.take_link(id));
            true
        }
        Err(_) => false,
    }
}

/// A filter, which lives with its device.
pub fn attach_filter(program: &mut SchedClassifier, name: &'static str, interface: &str) -> Result<(), DatapathError> {
    let fail =
        |source| DatapathError::Attach { program: name, interface: interface.to_owned(), source: Box::new(source) };
    // It may be there already; if it is not, attaching says so.
    let _ = qdisc_add_clsact(interface);
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let attached = program.attach_with_options(interface, TcAttachType::Ingress, TcAttachOptions::Netlink(options));
    let id = match attached {
        Ok(id) => id,
        Err(first) => {
            let old = SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None);
            let Ok(old) = old else { return Err(fail(first)) };
            program.attach_to_link(old).map_err(fail)?
        }
    };
    // Dropping the link would take the filter away.
    std::mem::forget(program.take_link(id).map_err(fail)?);
    Ok(())
}

/// Takes the gate's program off an interface; fine if either is gone.
pub fn detach(dir: &Path, gate: Gate, ifindex: u32) -> Result<(), DatapathError> {
    let path = pin_path(dir, gate, ifindex);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(DatapathError::PinFile { path, source: e }),
        _ => {}
    }
    if has_tcx() {
        return Ok(());
    }
    let Ok(interface) = interface_name(ifindex) else { return Ok(()) };
    if let Ok(old) = SchedClassifierLink::attached(&interface, TcAttachType::Ingress, PRIORITY, HANDLE, None) {
        let _ = aya::programs::links::Link::detach(old);
    }
    Ok(())
}
