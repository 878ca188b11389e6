//! `GET /system/df`, in the shape that the client's version knows.
use super::image::with_virtual_size;
use crate::backend::DiskUsageQuery;
use crate::http::ApiVersion;
use serde::Serialize;
use serde_json::{Value, json};
use wire::engine::system::DiskUsage;

/// From here on there is an object of counts and sizes for each kind.
const COUNTED: ApiVersion = ApiVersion(52);

/// One kind of object, counted.
#[derive(Default)]
struct Usage {
    active: usize,
    total: usize,
    reclaimable: i64,
    size: i64,
    items: Value,
}

impl Usage {
    /// Zeroes are left out, as Docker does.
    fn shown(self, items: bool) -> Value {
        let mut all = serde_json::Map::new();
        let numbers = [
            ("ActiveCount", self.active as i64),
            ("Reclaimable", self.reclaimable),
            ("TotalCount", self.total as i64),
            ("TotalSize", self.size),
        ];
        for (name, n) in numbers.into_iter().filter(|(_, n)| *n != 0) {
            all.insert(name.into(), n.into());
        }
        if items && self.total > 0 {
            all.insert("Items".into(), self.items);
        }
        all.into()
    }
}

/// The answer. `verbose` is known from 1.52 on: then the lists are in the new objects, and the old fields are left out.
pub(super) fn shaped(
    usage: &DiskUsage,
    what: &DiskUsageQuery,
    build_cache: bool,
    version: ApiVersion,
    verbose: bool,
) -> Value {
    let images = with_virtual_size(&usage.images, version);
    let mut answer = value(usage);
    answer["Images"] = images.clone();
    if version < COUNTED {
        let asked = [
            ("Images", what.images),
            ("Containers", what.containers),
            ("Volumes", what.volumes),
            ("BuildCache", build_cache),
        ];
        for (name, _) in asked.into_iter().filter(|(_, asked)| !asked) {
            answer[name] = Value::Null;
        }
        return answer;
    }
    if verbose {
        answer = json!({});
    }
    if what.images {
        answer["ImageUsage"] = of_images(usage, images).shown(true);
    }
    if what.containers {
        answer["ContainerUsage"] = of_containers(usage).shown(true);
    }
    if what.volumes {
        answer["VolumeUsage"] = of_volumes(usage).shown(true);
    }
    if build_cache {
        answer["BuildCacheUsage"] = Usage { total: usage.build_cache.len(), ..Usage::default() }.shown(false);
    }
    answer
}

fn of_images(usage: &DiskUsage, items: Value) -> Usage {
    let used = usage.images.iter().filter(|i| i.containers > 0);
    let held: i64 = used.clone().map(|i| i.size - i.shared_size.max(0)).sum();
    Usage {
        active: used.count(),
        total: usage.images.len(),
        reclaimable: (usage.layers_size - held).max(0),
        size: usage.layers_size,
        items,
    }
}

fn of_containers(usage: &DiskUsage) -> Usage {
    let active = |state: &str| matches!(state, "running" | "paused" | "restarting");
    let idle = usage.containers.iter().filter(|c| !active(&c.state));
    Usage {
        active: usage.containers.len() - idle.clone().count(),
        total: usage.containers.len(),
        reclaimable: idle.map(|c| c.size_rw).sum(),
        size: usage.containers.iter().map(|c| c.size_rw).sum(),
        items: value(&usage.containers),
    }
}

fn of_volumes(usage: &DiskUsage) -> Usage {
    let known = |v: &wire::engine::volume::Volume| v.usage_data.clone().unwrap_or_default();
    let size = |v: &wire::engine::volume::Volume| known(v).size.max(0);
    let idle = usage.volumes.iter().filter(|v| known(v).ref_count == 0);
    Usage {
        active: usage.volumes.len() - idle.clone().count(),
        total: usage.volumes.len(),
        reclaimable: idle.map(size).sum(),
        size: usage.volumes.iter().map(size).sum(),
        items: value(&usage.volumes),
    }
}

fn value<T: Serialize>(of: &T) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::engine::container::ContainerSummary;
    use wire::engine::image::ImageSummary;
    use wire::engine::volume::{Volume, VolumeUsage};

    #[test]
    fn each_version_gets_what_it_knows() {
        let image = |containers, size| ImageSummary { containers, size, shared_size: 10, ..Default::default() };
        let container = |state: &str, size_rw| ContainerSummary { state: state.into(), size_rw, ..Default::default() };
        let usage = DiskUsage {
            layers_size: 100,
            images: vec![image(2, 60), image(0, 50)],
            containers: vec![container("running", 5), container("exited", 7)],
            volumes: vec![Volume { usage_data: Some(VolumeUsage { ref_count: 0, size: 9 }), ..Volume::default() }],
            ..DiskUsage::default()
        };
        let what = DiskUsageQuery { containers: true, images: true, volumes: true };
        let of = |version, verbose| shaped(&usage, &what, true, ApiVersion(version), verbose);
        assert_eq!(of(43, false)["Images"][0]["VirtualSize"], 60);
        let old = of(51, true);
        assert!(old["Images"][0].get("VirtualSize").is_none() && old.get("ImageUsage").is_none(), "{old}");
        let volumes = DiskUsageQuery { volumes: true, ..DiskUsageQuery::default() };
        let only = shaped(&usage, &volumes, false, ApiVersion(51), false);
        assert_eq!([&only["Images"], &only["Containers"], &only["BuildCache"]], [&Value::Null; 3]);
        assert!(only["Volumes"].is_array(), "{only}");
        let both = of(52, false);
        assert_eq!(both["LayersSize"], 100);
        let counts = |of: &Value| ["ActiveCount", "TotalCount", "Reclaimable", "TotalSize"].map(|k| of[k].as_i64());
        assert_eq!(counts(&both["ImageUsage"]), [Some(1), Some(2), Some(50), Some(100)]);
        assert_eq!(counts(&both["ContainerUsage"]), [Some(1), Some(2), Some(7), Some(12)]);
        assert_eq!(counts(&both["VolumeUsage"]), [None, Some(1), Some(9), Some(9)]);
        let new = of(52, true);
        assert!(new.get("Images").is_none() && new["ImageUsage"]["Items"].as_array().unwrap().len() == 2, "{new}");
        assert_eq!(new["BuildCacheUsage"], json!({}));
    }
}
