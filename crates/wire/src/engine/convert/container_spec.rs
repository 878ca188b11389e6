//! The container of a service's task.
use super::{duration_in, duration_out, unsupported};
use crate::Refusal;
use crate::engine::shape::Base64;
use crate::engine::{container as ec, mount as em, service as es};
use model::MountKind;

/// Parses it.
///
/// # Errors
/// 400 or 501, naming the option.
pub fn container_spec_in(c: &es::ContainerSpec) -> Result<model::ContainerSpec, Refusal> {
    Ok(model::ContainerSpec {
        // They come in a header, not in the spec.
        pull_credentials: model::PullCredentials::default(),
        image: c.image.clone(),
        labels: c.labels.clone(),
        command: c.command.clone(),
        args: c.args.clone(),
        hostname: c.hostname.clone(),
        env: c.env.clone(),
        dir: c.dir.clone(),
        user: c.user.clone(),
        groups: c.groups.clone(),
        privileges: c.privileges.as_ref().map(privileges_in).transpose()?,
        init: c.init,
        stop_signal: c.stop_signal.clone(),
        tty: c.tty,
        open_stdin: c.open_stdin,
        read_only: c.read_only,
        mounts: c.mounts.iter().map(mount_in).collect::<Result<_, _>>()?,
        stop_grace_period: c.stop_grace_period.map(|n| duration_in(n, "StopGracePeriod")).transpose()?,
        healthcheck: c.healthcheck.as_ref().map(health_in).transpose()?,
        hosts: c.hosts.clone(),
        dns: c.dns_config.as_ref().map(|d| model::DnsConfig {
            nameservers: d.nameservers.clone(),
            search: d.search.clone(),
            options: d.options.clone(),
        }),
        secrets: c.secrets.iter().map(secret_ref_in).collect::<Result<_, _>>()?,
        configs: c.configs.iter().map(config_ref_in).collect::<Result<_, _>>()?,
        sysctls: c.sysctls.clone(),
        capability_add: c.capability_add.clone(),
        capability_drop: c.capability_drop.clone(),
        ulimits: c.ulimits.iter().map(|u| model::Ulimit { name: u.name.clone(), hard: u.hard, soft: u.soft }).collect(),
        oom_score_adj: c.oom_score_adj,
        // One spelling of the default, or a client that sends back what it was shown would change the spec.
        isolation: if c.isolation == "default" { String::new() } else { c.isolation.clone() },
    })
}

/// Shows it.
pub fn container_spec_out(c: &model::ContainerSpec) -> es::ContainerSpec {
    es::ContainerSpec {
        image: c.image.clone(),
        labels: c.labels.clone(),
        command: c.command.clone(),
        args: c.args.clone(),
        hostname: c.hostname.clone(),
        env: c.env.clone(),
        dir: c.dir.clone(),
        user: c.user.clone(),
        groups: c.groups.clone(),
        privileges: c.privileges.as_ref().map(privileges_out),
        init: c.init,
        stop_signal: c.stop_signal.clone(),
        tty: c.tty,
        open_stdin: c.open_stdin,
        read_only: c.read_only,
        mounts: c.mounts.iter().map(mount_out).collect(),
        stop_grace_period: c.stop_grace_period.map(duration_out),
        healthcheck: c.healthcheck.as_ref().map(health_out),
        hosts: c.hosts.clone(),
        dns_config: c.dns.as_ref().map(|d| es::DnsConfig {
            nameservers: d.nameservers.clone(),
            search: d.search.clone(),
            options: d.options.clone(),
        }),
        secrets: c
            .secrets
            .iter()
            .map(|s| es::SecretReference {
                file: s.file.as_ref().map(file_out),
                secret_id: s.id.to_string(),
                secret_name: s.name.clone(),
            })
            .collect(),
        configs: c
            .configs
            .iter()
            .map(|s| es::ConfigReference {
                file: s.file.as_ref().map(file_out),
                runtime: None,
                config_id: s.id.to_string(),
                config_name: s.name.clone(),
            })
            .collect(),
        // Docker always says `default` for services that do not.
        isolation: if c.isolation.is_empty() { "default".into() } else { c.isolation.clone() },
        sysctls: c.sysctls.clone(),
        capability_add: c.capability_add.clone(),
        capability_drop: c.capability_drop.clone(),
        ulimits: c.ulimits.iter().map(|u| ec::Ulimit { name: u.name.clone(), hard: u.hard, soft: u.soft }).collect(),
        oom_score_adj: c.oom_score_adj,
    }
}

fn privileges_in(p: &es::Privileges) -> Result<model::Privileges, Refusal> {
    if p.credential_spec.is_some() {
        return Err(unsupported("CredentialSpec (a Windows option)"));
    }
    // Containers have no SELinux labels, so to switch them off is granted and to wish for one is not.
    let selinux = p.se_linux_context.clone().unwrap_or_default();
    let selinux_disabled = selinux.disable;
    if (es::SeLinuxContext { disable: false, ..selinux }) != es::SeLinuxContext::default() {
        return Err(unsupported("SELinuxContext (User, Role, Type, Level): containers get no SELinux labels"));
    }
    let seccomp = p.seccomp.clone().unwrap_or_default();
    let seccomp_mode = match seccomp.mode.as_str() {
        "" | "default" => String::new(),
        "unconfined" | "custom" => seccomp.mode.clone(),
        other => return Err(Refusal::invalid(format!("unrecognized seccomp mode: {other:?}"))),
    };
    let apparmor_mode = match p.app_armor.as_ref().map_or("", |a| a.mode.as_str()) {
        "" | "default" => String::new(),
        "disabled" => "disabled".to_owned(),
        other => return Err(Refusal::invalid(format!("unrecognized AppArmor mode: {other:?}"))),
    };
    Ok(model::Privileges {
        no_new_privileges: p.no_new_privileges,
        seccomp_mode,
        seccomp_profile: seccomp.profile.0,
        apparmor_mode,
        selinux_disabled,
    })
}

fn privileges_out(p: &model::Privileges) -> es::Privileges {
    let seccomp = !p.seccomp_mode.is_empty() || !p.seccomp_profile.is_empty();
    es::Privileges {
        credential_spec: None,
        se_linux_context: p.selinux_disabled.then(|| es::SeLinuxContext { disable: true, ..Default::default() }),
        seccomp: seccomp
            .then(|| es::SeccompOpts { mode: p.seccomp_mode.clone(), profile: Base64(p.seccomp_profile.clone()) }),
        app_armor: (!p.apparmor_mode.is_empty()).then(|| es::AppArmorOpts { mode: p.apparmor_mode.clone() }),
        no_new_privileges: p.no_new_privileges,
    }
}

/// Parses a health check.
///
/// # Errors
/// 400 for negative times.
pub fn health_in(h: &ec::HealthConfig) -> Result<model::HealthConfig, Refusal> {
    Ok(model::HealthConfig {
        test: h.test.clone().unwrap_or_default(),
        interval: duration_in(h.interval, "Interval in Healthcheck")?,
        timeout: duration_in(h.timeout, "Timeout in Healthcheck")?,
        start_period: duration_in(h.start_period, "StartPeriod in Healthcheck")?,
        start_interval: duration_in(h.start_interval, "StartInterval in Healthcheck")?,
        retries: u64::try_from(h.retries).map_err(|_| Refusal::invalid("Retries in Healthcheck cannot be negative"))?,
    })
}

/// Shows a health check.
pub fn health_out(h: &model::HealthConfig) -> ec::HealthConfig {
    ec::HealthConfig {
        test: (!h.test.is_empty()).then(|| h.test.clone()),
        interval: duration_out(h.interval),
        timeout: duration_out(h.timeout),
        start_period: duration_out(h.start_period),
        start_interval: duration_out(h.start_interval),
        retries: i64::try_from(h.retries).unwrap_or(i64::MAX),
    }
}

fn file_in(f: &es::FileTarget) -> model::FileTarget {
    model::FileTarget { name: f.name.clone(), uid: f.uid.clone(), gid: f.gid.clone(), mode: f.mode }
}

fn file_out(f: &model::FileTarget) -> es::FileTarget {
    es::FileTarget { name: f.name.clone(), uid: f.uid.clone(), gid: f.gid.clone(), mode: f.mode }
}

fn secret_ref_in(s: &es::SecretReference) -> Result<model::SecretReference, Refusal> {
    let id = s.secret_id.parse().map_err(|_| Refusal::invalid("malformed secret reference").as_rpc())?;
    Ok(model::SecretReference { id, name: s.secret_name.clone(), file: s.file.as_ref().map(file_in) })
}

fn config_ref_in(c: &es::ConfigReference) -> Result<model::ConfigReference, Refusal> {
    if c.runtime.is_some() {
        return Err(unsupported("a config with a Runtime target"));
    }
    let id = c.config_id.parse().map_err(|_| Refusal::invalid("malformed config reference").as_rpc())?;
    Ok(model::ConfigReference { id, name: c.config_name.clone(), file: c.file.as_ref().map(file_in) })
}

fn mount_in(m: &em::Mount) -> Result<model::Mount, Refusal> {
    let kind = match m.typ.as_str() {
        "bind" => MountKind::Bind,
        "volume" => MountKind::Volume,
        "tmpfs" => MountKind::Tmpfs,
        other @ ("npipe" | "cluster" | "image") => return Err(unsupported(&format!("a mount of type {other}"))),
        other => return Err(Refusal::invalid(format!("invalid MountType: {other:?}"))),
    };
    let wrong = |option: &str| Refusal::invalid(format!("{option} is not for a mount of type {}", m.typ));
    let bind = match &m.bind_options {
        Some(b) if kind == MountKind::Bind => b.clone(),
        Some(b) if *b != em::BindOptions::default() => return Err(wrong("BindOptions")),
        _ => em::BindOptions::default(),
    };
    for (set, option) in [
        (bind.non_recursive, "BindOptions.NonRecursive"),
        (bind.read_only_non_recursive, "BindOptions.ReadOnlyNonRecursive"),
        (bind.read_only_force_recursive, "BindOptions.ReadOnlyForceRecursive"),
    ] {
        if set {
            return Err(unsupported(option));
        }
    }
    let volume = match &m.volume_options {
        Some(v) if kind == MountKind::Volume => v.clone(),
        Some(v) if *v != em::VolumeOptions::default() => return Err(wrong("VolumeOptions")),
        _ => em::VolumeOptions::default(),
    };
    let tmpfs = match &m.tmpfs_options {
        Some(t) if kind == MountKind::Tmpfs => t.clone(),
        Some(t) if *t != em::TmpfsOptions::default() => return Err(wrong("TmpfsOptions")),
        _ => em::TmpfsOptions::default(),
    };
    if !tmpfs.options.is_empty() {
        return Err(unsupported("TmpfsOptions.Options"));
    }
    let driver = volume.driver_config.unwrap_or_default();
    Ok(model::Mount {
        kind,
        source: m.source.clone(),
        target: m.target.clone(),
        read_only: m.read_only,
        consistency: m.consistency.clone(),
        propagation: bind.propagation,
        create_mountpoint: bind.create_mountpoint,
        no_copy: volume.no_copy,
        labels: volume.labels,
        driver: driver.name,
        driver_opts: driver.options,
        subpath: volume.subpath,
        tmpfs_size_bytes: tmpfs.size_bytes,
        tmpfs_mode: tmpfs.mode,
    })
}

fn mount_out(m: &model::Mount) -> em::Mount {
    let bind = em::BindOptions {
        propagation: m.propagation.clone(),
        create_mountpoint: m.create_mountpoint,
        ..Default::default()
    };
    let driver = em::Driver { name: m.driver.clone(), options: m.driver_opts.clone() };
    let volume = em::VolumeOptions {
        no_copy: m.no_copy,
        labels: m.labels.clone(),
        subpath: m.subpath.clone(),
        driver_config: some_unless_zero(driver),
    };
    let tmpfs = em::TmpfsOptions { size_bytes: m.tmpfs_size_bytes, mode: m.tmpfs_mode, options: vec![] };
    em::Mount {
        typ: match m.kind {
            MountKind::Bind => "bind",
            MountKind::Volume => "volume",
            MountKind::Tmpfs => "tmpfs",
        }
        .into(),
        source: m.source.clone(),
        target: m.target.clone(),
        read_only: m.read_only,
        consistency: m.consistency.clone(),
        bind_options: some_unless_zero(bind),
        volume_options: some_unless_zero(volume),
        tmpfs_options: some_unless_zero(tmpfs),
        ..Default::default()
    }
}

pub(super) fn some_unless_zero<T: Default + PartialEq>(v: T) -> Option<T> {
    (v != T::default()).then_some(v)
}
