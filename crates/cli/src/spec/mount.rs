//! `--mount` and `--tmpfs`.
use super::pairs::{fields, truth};
use super::units;
use wire::engine::mount::{BindOptions, Driver, Mount, TmpfsOptions, VolumeOptions};

/// `type=bind,source=…,target=…,readonly`.
pub(crate) fn mount(text: &str) -> Result<Mount, String> {
    let mut m = Mount { typ: "volume".into(), ..Mount::default() };
    let (mut bind, mut volume, mut tmpfs) = (BindOptions::default(), VolumeOptions::default(), TmpfsOptions::default());
    for (key, value) in fields(text)? {
        let flag = || {
            truth(value.as_deref())
                .ok_or_else(|| format!("invalid value for {key}: {}", value.clone().unwrap_or_default()))
        };
        match key.as_str() {
            "readonly" | "ro" => {
                m.read_only = flag()?;
                continue;
            }
            "volume-nocopy" => {
                volume.no_copy = flag()?;
                continue;
            }
            "bind-nonrecursive" => {
                bind.non_recursive = flag()?;
                continue;
            }
            "bind-create-mountpoint" => {
                bind.create_mountpoint = flag()?;
                continue;
            }
            _ => {}
        }
        let Some(value) = value else { return Err(format!("invalid field '{key}' must be a key=value pair")) };
        match key.as_str() {
            "type" => m.typ = value.to_lowercase(),
            "source" | "src" => {
                m.source = if value.starts_with('.') { absolute(&value) } else { value };
            }
            "target" | "dst" | "destination" => m.target = value,
            "consistency" => m.consistency = value.to_lowercase(),
            "bind-propagation" => bind.propagation = value.to_lowercase(),
            "bind-recursive" => match value.as_str() {
                "enabled" => {}
                "disabled" => bind.non_recursive = true,
                "writable" => bind.read_only_non_recursive = true,
                "readonly" => bind.read_only_force_recursive = true,
                _ => {
                    return Err(format!(
                        "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    ));
                }
            },
            "volume-subpath" => volume.subpath = value,
            "volume-driver" => volume.driver_config.get_or_insert_default().name = value,
            "volume-opt" => {
                let (k, v) = value.split_once('=').unwrap_or((&value, ""));
                volume.driver_config.get_or_insert_with(Driver::default).options.insert(k.to_owned(), v.to_owned());
            }
            "volume-label" => {
                let (k, v) = value.split_once('=').unwrap_or((&value, ""));
                volume.labels.insert(k.to_owned(), v.to_owned());
            }
            "tmpfs-size" => {
                tmpfs.size_bytes = units::bytes(&value).map_err(|_| format!("invalid value for {key}: {value}"))?
            }
            "tmpfs-mode" => {
                tmpfs.mode = u32::from_str_radix(&value, 8).map_err(|_| format!("invalid value for {key}: {value}"))?;
            }
            _ => return Err(format!("unknown option '{key}' in '{key}={value}'")),
        }
    }
    if m.target.is_empty() {
        return Err("target is required".into());
    }
    let only = |kind: &str, used: bool| match used && m.typ != kind {
        true => Err(format!("cannot mix '{kind}-*' options with mount type '{}'", m.typ)),
        false => Ok(used),
    };
    if only("bind", bind != BindOptions::default())? {
        m.bind_options = Some(bind);
    }
    if only("volume", volume != VolumeOptions::default())? {
        m.volume_options = Some(volume);
    }
    if only("tmpfs", tmpfs != TmpfsOptions::default())? {
        m.tmpfs_options = Some(tmpfs);
    }
    Ok(m)
}

/// A path from here.
pub(crate) fn absolute(path: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let joined = here.join(path);
    let mut out = std::path::PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_become_dockers_json() {
        let table = [
            ("source=v,target=/d", r#"{"Type":"volume","Source":"v","Target":"/d"}"#),
            ("type=bind,src=/a,dst=/b,ro", r#"{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true}"#),
            (
                "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1777",
                r#"{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1048576,"Mode":1023}}"#,
            ),
            (
                "type=volume,src=v,dst=/d,volume-opt=o=x,volume-nocopy",
                r#"{"Type":"volume","Source":"v","Target":"/d","VolumeOptions":{"NoCopy":true,"DriverConfig":{"Options":{"o":"x"}}}}"#,
            ),
        ];
        for (text, json) in table {
            assert_eq!(serde_json::to_string(&mount(text).unwrap()).unwrap(), json, "{text}");
        }
        for bad in [
            "source=x",
            "type=bind,src=/a,dst=/b,volume-nocopy",
            "target=/x,nope=1",
            "target",
            "target=/x,readonly=maybe",
        ] {
            assert!(mount(bad).is_err(), "{bad}");
        }
    }
}
