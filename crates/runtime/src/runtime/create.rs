//! Makes a container: decides, prepares the kernel's side, starts the shim; undoes everything when a step fails.
use super::{Container, Created, Runtime, lock, shim_link};
use crate::container_process::{Failure, in_words};
use crate::error::LaunchError;
use crate::launch::{Launch, Seccomp};
use crate::plan::{self, Plan};
use crate::protocol::{Reply, Request, ask};
use crate::shim::{CONFIG_FILE, PLAN_FILE, ShimConfig, State};
use crate::surroundings;
use kernel::cgroup::Cgroup;
use kernel::process::PidFd;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// File with the compiled filter.
pub(super) const FILTER_FILE: &str = "seccomp.bpf";
/// File with everything that was asked for.
pub(super) const LAUNCH_FILE: &str = "launch.json";

type Result<T> = std::result::Result<T, LaunchError>;

impl LaunchError {
    /// Docker's sentence around a failure while a container is made.
    pub(crate) fn create(failure: Failure) -> Self {
        Self {
            message: format!(
                "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create \
                 failed: unable to start container process: error during container init: {}: unknown",
                failure.message
            ),
            exit_code: failure.exit_code,
        }
    }

    /// Docker's sentence around a failure while a process joins a container.
    pub(crate) fn exec(failure: Failure) -> Self {
        Self {
            message: format!(
                "OCI runtime exec failed: exec failed: unable to start container process: {}: unknown",
                failure.message
            ),
            exit_code: failure.exit_code,
        }
    }

    /// Our own fault.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), exit_code: 128 }
    }
}

/// What was prepared, to be adopted or undone.
struct Prepared {
    plan: Plan,
    listener: UnixListener,
}

pub(super) async fn create(runtime: &Runtime, launch: Launch) -> Result<Created> {
    if launch.id.is_empty() || !launch.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return Err(LaunchError::internal(format!("invalid container id \"{}\"", launch.id)));
    }
    if lock(&runtime.shared.containers).contains_key(&launch.id) {
        return Err(LaunchError::internal(format!("container {} is made already", launch.id)));
    }
    let dir = runtime.shared.dir.join(&launch.id);
    let handle = tokio::runtime::Handle::current();
    let (worker, place) = (runtime.clone(), dir.clone());
    let made = tokio::task::spawn_blocking(move || {
        // The shim is a child of the async runtime, which reaps it.
        let _inside = handle.enter();
        let result = make(&worker, &launch, &place);
        if result.is_err() {
            let _ = Cgroup::at(plan::cgroup_path(&launch)).remove();
            let _ = std::fs::remove_dir_all(&place);
        }
        result.map(|(plan, state)| (launch, plan, state))
    });
    let (launch, plan, state) = made.await.map_err(LaunchError::internal)??;
    let pidfd = PidFd::open_started(state.pid, state.ticks).ok();
    runtime.adopt(
        |exit| Container {
            dir,
            cgroup: Cgroup::at(&plan.cgroup),
            state,
            pidfd,
            process: plan.process,
            rootfs: plan.rootfs,
            stdin: launch.open_stdin,
            exit,
            execs: Default::default(),
            id: launch.id,
        },
        None,
    );
    Ok(Created { pid: state.pid })
}

fn make(runtime: &Runtime, launch: &Launch, dir: &Path) -> Result<(Plan, State)> {
    let Prepared { plan, listener } = prepare(runtime, launch, dir)?;
    let failed = |what: &'static str| {
        move |error: io::Error| {
            LaunchError::create(Failure { exit_code: 128, message: format!("{what}: {}", in_words(&error)) })
        }
    };
    shim_link::spawn(&runtime.shared.exe, dir, listener).map_err(failed("cannot start the shim"))?;
    let mut stream = shim_link::connect(dir).map_err(failed("cannot reach the shim"))?;
    match ask(&mut stream, &Request::Create).map_err(failed("the shim does not answer"))? {
        Reply::Created { pid } => {
            let state = std::fs::read(dir.join(crate::shim::STATE_FILE))
                .and_then(|bytes| Ok(serde_json::from_slice::<State>(&bytes)?))
                .unwrap_or(State { pid, ticks: 0, started_at: 0 });
            Ok((plan, state))
        }
        Reply::Failed(failure) => Err(LaunchError::create(failure)),
        _ => Err(LaunchError::internal("the shim gave an answer to another question")),
    }
}

fn prepare(runtime: &Runtime, launch: &Launch, dir: &Path) -> Result<Prepared> {
    let init = if launch.init { init_binary(&runtime.shared.dir)? } else { PathBuf::new() };
    let here = surroundings::look(launch, &init);
    let mut plan = plan::plan(launch, &here)?;
    let limits = plan::limits_of(&launch.resources, surroundings::block_device)?;
    let group = Cgroup::at(&plan.cgroup);
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| {
            LaunchError::create(Failure { exit_code: 128, message: format!("{what}: {}", in_words(&error)) })
        }
    };
    std::fs::create_dir_all(dir).map_err(failed("cannot make the directory of the container"))?;
    if launch.seccomp != Seccomp::Unconfined && !launch.privileged {
        let filter = runtime.filter(&launch.seccomp, plan.process.capabilities)?;
        let path = dir.join(FILTER_FILE);
        std::fs::write(&path, &**filter).map_err(failed("cannot write the seccomp filter"))?;
        plan.process.seccomp = Some(path);
    }
    let shim = ShimConfig {
        id: launch.id.clone(),
        cgroup: plan.cgroup.clone(),
        pid: launch.pid.clone(),
        tty: launch.tty,
        console_size: launch.console_size,
        open_stdin: launch.open_stdin,
        stdin_once: launch.stdin_once,
        log: launch.log.clone(),
    };
    let save = |name: &str, bytes: serde_json::Result<Vec<u8>>| {
        bytes.map_err(io::Error::from).and_then(|bytes| std::fs::write(dir.join(name), bytes))
    };
    save(LAUNCH_FILE, serde_json::to_vec(launch))
        .and_then(|()| save(PLAN_FILE, serde_json::to_vec(&plan)))
        .and_then(|()| save(CONFIG_FILE, serde_json::to_vec(&shim)))
        .map_err(failed("cannot write the plan of the container"))?;
    group.create().map_err(failed("cannot make the control groups"))?;
    group.limit(&limits).map_err(failed("cannot set the limits"))?;
    group.limit_devices(&plan.device_rules).map_err(failed("cannot set the device rules"))?;
    let listener = shim_link::listen(dir).map_err(failed("cannot listen for the shim"))?;
    Ok(Prepared { plan, listener })
}

/// Our init, unpacked once.
fn init_binary(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("docker-init");
    match crate::init_binary() {
        Some(bytes) => {
            let written = std::fs::metadata(&path).is_ok_and(|meta| meta.len() == bytes.len() as u64);
            if !written {
                use std::os::unix::fs::PermissionsExt;
                crate::shim::write_whole(&path, bytes)
                    .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)))
                    .map_err(LaunchError::internal)?;
            }
            Ok(path)
        }
        None => Err(LaunchError::internal("this build has no init for --init: it was made without a C compiler")),
    }
}
