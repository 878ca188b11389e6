//! The pinned maps, by name and type.
use crate::error::DatapathError;
use crate::layout::*;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::{Ebpf, Pod};

/// A hash map that names itself in errors.
pub struct Table<K, V> {
    name: &'static str,
    inner: HashMap<MapData, K, V>,
}

impl<K: Pod, V: Pod> Table<K, V> {
    fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, DatapathError> {
        let inner = HashMap::try_from(map(ebpf, name)?).map_err(|source| DatapathError::Map { name, source })?;
        Ok(Self { name, inner })
    }

    pub fn set(&mut self, key: &K, value: &V) -> Result<(), DatapathError> {
        self.inner.insert(key, value, 0).map_err(|source| DatapathError::Map { name: self.name, source })
    }

    /// Fine if it is gone.
    pub fn remove(&mut self, key: &K) -> Result<(), DatapathError> {
        match self.inner.remove(key) {
            Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other.map_err(|source| DatapathError::Map { name: self.name, source }),
        }
    }

    /// All entries; ones that vanish meanwhile are left out.
    pub fn entries(&self) -> Result<Vec<(K, V)>, DatapathError> {
        let mut all = Vec::new();
        for entry in self.inner.iter() {
            match entry {
                Ok(entry) => all.push(entry),
                Err(MapError::KeyNotFound) => {}
                // An LRU map recycles the very key that the walk stood on: what is missing now is seen next time.
                Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => break,
                Err(source) => return Err(DatapathError::Map { name: self.name, source }),
            }
        }
        Ok(all)
    }
}

fn map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, DatapathError> {
    ebpf.take_map(name).ok_or(DatapathError::Map { name, source: MapError::InvalidName { name: name.to_owned() } })
}

/// All maps of the road.
pub struct Maps {
    pub ports: Table<u32, Port>,
    pub endpoints: Table<Place, Endpoint>,
    pub services: Table<Place, Service>,
    pub mesh: Table<MeshKey, Service>,
    pub backends: Table<BackendKey, Backend>,
    pub own_addresses: Table<Addr, u32>,
    pub peers: Table<Node, u32>,
    pub flows: Table<FlowKey, Flow>,
    pub slots: Array<MapData, Slot>,
    pub settings: Array<MapData, Settings>,
    pub counters: PerCpuArray<MapData, u64>,
    pub events: RingBuf<MapData>,
}

impl Maps {
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        fn typed<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DatapathError> {
            T::try_from(map(ebpf, name)?).map_err(|source| DatapathError::Map { name, source })
        }
        Ok(Self {
            ports: Table::take(ebpf, "ports")?,
            endpoints: Table::take(ebpf, "endpoints")?,
            services: Table::take(ebpf, "services")?,
            mesh: Table::take(ebpf, "mesh")?,
            backends: Table::take(ebpf, "backends")?,
            own_addresses: Table::take(ebpf, "own_addresses")?,
            peers: Table::take(ebpf, "peers")?,
            flows: Table::take(ebpf, "flows")?,
            slots: typed(ebpf, "slots")?,
            settings: typed(ebpf, "settings")?,
            counters: typed(ebpf, "counters")?,
            events: typed(ebpf, "events")?,
        })
    }

    pub fn slot(&self, index: u32) -> Result<Slot, DatapathError> {
        self.slots.get(&index, 0).map_err(|source| DatapathError::Map { name: "slots", source })
    }

    pub fn set_slot(&mut self, index: u32, slot: Slot) -> Result<(), DatapathError> {
        self.slots.set(index, slot, 0).map_err(|source| DatapathError::Map { name: "slots", source })
    }

    pub fn settings(&self) -> Result<Settings, DatapathError> {
        self.settings.get(&0, 0).map_err(|source| DatapathError::Map { name: "settings", source })
    }

    pub fn set_settings(&mut self, s: Settings) -> Result<(), DatapathError> {
        self.settings.set(0, s, 0).map_err(|source| DatapathError::Map { name: "settings", source })
    }
}
