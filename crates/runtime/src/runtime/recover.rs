//! Finds what a former daemon left.
use super::create::LAUNCH_FILE;
use super::{Container, Runtime, blocking, lock, shim_link};
use crate::exit::{Exit, Recovered, RecoveredState};
use crate::launch::Launch;
use crate::plan::Plan;
use crate::protocol::{Reply, Request, ask};
use crate::shim::{PLAN_FILE, STATE_FILE, State};
use kernel::cgroup::Cgroup;
use kernel::process::PidFd;
use model::Timestamp;
use std::path::{Path, PathBuf};

pub(super) fn read_launch(dir: &Path) -> Option<Launch> {
    read(&dir.join(LAUNCH_FILE))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// What one directory says.
struct Found {
    id: String,
    dir: PathBuf,
    launch: Launch,
    plan: Plan,
    state: State,
    ended: Option<Exit>,
}

pub(super) async fn recover(runtime: &Runtime) -> Vec<Recovered> {
    let dir = runtime.shared.dir.clone();
    let found = blocking(move || {
        let dirs = std::fs::read_dir(dir)?.flatten().filter(|entry| entry.path().is_dir());
        // Each on a thread of its own: one that hangs holds nobody up.
        let threads: Vec<_> = dirs.map(|entry| std::thread::spawn(move || look(&entry.path()))).collect();
        Ok(threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect::<Vec<_>>())
    });
    let mut recovered = Vec::new();
    for found in found.await.unwrap_or_default() {
        let Found { id, dir, launch, plan, state, ended } = found;
        if lock(&runtime.shared.containers).contains_key(&id) {
            continue;
        }
        let state_now = match ended {
            Some(exit) => RecoveredState::Exited(exit),
            None if state.started_at == 0 => RecoveredState::Created { pid: state.pid },
            None => RecoveredState::Running { pid: state.pid, started_at: Timestamp(state.started_at) },
        };
        recovered.push(Recovered { id: id.clone(), state: state_now });
        runtime.adopt(
            |exit| Container {
                id,
                dir,
                cgroup: Cgroup::at(&plan.cgroup),
                state,
                pidfd: PidFd::open_started(state.pid, state.ticks).ok(),
                process: plan.process,
                rootfs: plan.rootfs,
                stdin: launch.open_stdin,
                exit,
                execs: Default::default(),
            },
            ended,
        );
    }
    recovered.sort_by(|a, b| a.id.cmp(&b.id));
    recovered
}

/// A directory that was never finished is removed.
fn look(dir: &Path) -> Option<Found> {
    let id = dir.file_name()?.to_str()?.to_owned();
    let (launch, plan) = (read_launch(dir), read::<Plan>(&dir.join(PLAN_FILE)));
    let (Some(launch), Some(plan)) = (launch, plan) else {
        let _ = std::fs::remove_dir_all(dir);
        return None;
    };
    let mut state: State = read(&dir.join(STATE_FILE)).unwrap_or_default();
    let answer = shim_link::connect(dir).and_then(|mut stream| ask(&mut stream, &Request::Watch));
    let ended = match answer {
        Ok(Reply::State { started_at, .. }) => {
            state.started_at = started_at;
            shim_link::recorded_exit(dir)
        }
        _ => Some(shim_link::settle(dir, state)),
    };
    Some(Found { id, dir: dir.to_owned(), launch, plan, state, ended })
}
