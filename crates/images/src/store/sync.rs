//! When layers are on the disk.
//!
//! Waiting for the disk at each layer would make a load several times as long. So a layer says in which boot it was
//! written until it is known to be on the disk, which is seen to a moment later; one that still says so after another
//! boot is read once, whole, before anybody gets it.
use super::Store;
use crate::error::{ImageError, IoContext};
use std::{
    sync::{
        Arc, OnceLock, Weak,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

/// Layers come in groups.
const GATHER: Duration = Duration::from_secs(2);

/// Wakes the thread that sees to it.
pub(crate) struct Syncer(SyncSender<()>);

/// The thread's end, until it runs.
pub(crate) struct Sleeping(Receiver<()>);

impl Syncer {
    pub(crate) fn new() -> (Self, Sleeping) {
        let (tx, rx) = sync_channel(1);
        (Self(tx), Sleeping(rx))
    }

    pub(crate) fn wake(&self) {
        // Full: it is about to look anyway.
        let _ = self.0.try_send(());
    }
}

impl Sleeping {
    /// Starts the thread; it ends with the store.
    pub(crate) fn serve(self, store: &Arc<Store>) -> Result<(), ImageError> {
        let weak = Arc::downgrade(store);
        store.syncer.wake();
        let serve = move || {
            while self.0.recv().is_ok() {
                if store_of(&weak).is_some_and(|s| s.unsynced().is_empty()) {
                    continue;
                }
                std::thread::sleep(GATHER);
                let Some(store) = store_of(&weak) else { return };
                if let Err(e) = store.put_on_disk() {
                    tracing::warn!(error = %e, "layers cannot be put on the disk");
                }
            }
        };
        std::thread::Builder::new().name("layer-sync".into()).spawn(serve).map(drop).at("start thread", "layer-sync")
    }
}

fn store_of(weak: &Weak<Store>) -> Option<Arc<Store>> {
    weak.upgrade()
}

impl Store {
    fn unsynced(&self) -> Vec<String> {
        let state = self.state.read();
        state.layers.values().filter(|l| l.unsynced_boot.is_some()).map(|l| l.diff_id.clone()).collect()
    }

    fn put_on_disk(&self) -> Result<(), ImageError> {
        let written = self.unsynced();
        kernel::beneath::sync_filesystem(&self.paths.layers()).at("sync", self.paths.layers())?;
        for diff_id in written {
            let _writer = self.writer.lock();
            let record = self.state.read().layers.get(&diff_id).cloned();
            if let Some(mut record) = record {
                record.unsynced_boot = None;
                self.put_layer(record)?;
            }
        }
        Ok(())
    }
}

/// Another one after each start of the machine.
pub(crate) fn boot_id() -> String {
    static ID: OnceLock<String> = OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    ID.get_or_init(read).clone()
}
