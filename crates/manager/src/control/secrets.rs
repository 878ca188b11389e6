//! Secrets and configs: made once, labels may change, removed when nobody uses them.
use super::{Control, check_version, invalid, lookup, validate};
use crate::clock;
use model::{
    Config, ConfigId, ConfigSpec, ContainerSpec, ObjectKind, Secret, SecretId, SecretSpec, StoreAction, Tables,
};
use wire::Refusal;

const SECRET_BYTES: usize = 500 * 1024;
const CONFIG_BYTES: usize = 1000 * 1024;

impl Control {
    /// A new secret.
    ///
    /// # Errors
    /// Docker's.
    pub async fn create_secret(&self, spec: SecretSpec) -> Result<SecretId, Refusal> {
        check_blob("secret", &spec.name, spec.data.len(), SECRET_BYTES)?;
        let id: SecretId = clock::fresh();
        self.update(|tables| {
            check_free(tables, ObjectKind::Secret, &spec.name)?;
            let secret = Secret { id: id.clone(), meta: Default::default(), spec };
            Ok((vec![StoreAction::Create(secret.into())], id))
        })
        .await
    }

    /// Changes a secret's labels.
    ///
    /// # Errors
    /// Docker's.
    pub async fn update_secret(&self, wanted: &str, version: u64, spec: SecretSpec) -> Result<(), Refusal> {
        self.update(|tables| {
            let old = lookup::secret(tables, wanted)?;
            check_version(old.meta.version, version)?;
            let unchanged = spec.name == old.spec.name
                && (spec.data.is_empty() || spec.data == old.spec.data)
                && spec.templating == old.spec.templating;
            check_labels_only(unchanged)?;
            let mut secret = (*old).clone();
            secret.spec.labels = spec.labels;
            Ok((vec![StoreAction::Update(secret.into())], ()))
        })
        .await
    }

    /// Removes a secret that nobody uses.
    ///
    /// # Errors
    /// Docker's.
    pub async fn remove_secret(&self, wanted: &str) -> Result<(), Refusal> {
        self.update(|tables| {
            let secret = lookup::secret(tables, wanted)?;
            let used = |c: &ContainerSpec| c.secrets.iter().any(|r| r.id == secret.id);
            check_unused(tables, "secret", &secret.spec.name, used)?;
            Ok((vec![StoreAction::Remove(secret.id.clone().into())], ()))
        })
        .await
    }

    /// A new config.
    ///
    /// # Errors
    /// Docker's.
    pub async fn create_config(&self, spec: ConfigSpec) -> Result<ConfigId, Refusal> {
        check_blob("config", &spec.name, spec.data.len(), CONFIG_BYTES)?;
        let id: ConfigId = clock::fresh();
        self.update(|tables| {
            check_free(tables, ObjectKind::Config, &spec.name)?;
            let config = Config { id: id.clone(), meta: Default::default(), spec };
            Ok((vec![StoreAction::Create(config.into())], id))
        })
        .await
    }

    /// Changes a config's labels.
    ///
    /// # Errors
    /// Docker's.
    pub async fn update_config(&self, wanted: &str, version: u64, spec: ConfigSpec) -> Result<(), Refusal> {
        self.update(|tables| {
            let old = lookup::config(tables, wanted)?;
            check_version(old.meta.version, version)?;
            let unchanged = spec.name == old.spec.name
                && (spec.data.is_empty() || spec.data == old.spec.data)
                && spec.templating == old.spec.templating;
            check_labels_only(unchanged)?;
            let mut config = (*old).clone();
            config.spec.labels = spec.labels;
            Ok((vec![StoreAction::Update(config.into())], ()))
        })
        .await
    }

    /// Removes a config that nobody uses.
    ///
    /// # Errors
    /// Docker's.
    pub async fn remove_config(&self, wanted: &str) -> Result<(), Refusal> {
        self.update(|tables| {
            let config = lookup::config(tables, wanted)?;
            let used = |c: &ContainerSpec| c.configs.iter().any(|r| r.id == config.id);
            check_unused(tables, "config", &config.spec.name, used)?;
            Ok((vec![StoreAction::Remove(config.id.clone().into())], ()))
        })
        .await
    }
}

fn check_blob(kind: &str, name: &str, bytes: usize, bytes_max: usize) -> Result<(), Refusal> {
    validate::blob_name(name)?;
    if bytes == 0 || bytes >= bytes_max {
        return Err(invalid(format!("{kind} data must be larger than 0 and less than {bytes_max} bytes")));
    }
    Ok(())
}

fn check_free(tables: &Tables, kind: ObjectKind, name: &str) -> Result<(), Refusal> {
    if tables.by_name(kind, name).is_some() {
        return Err(Refusal::conflict(format!("{} {name} already exists", kind.as_str())).as_rpc());
    }
    Ok(())
}

fn check_labels_only(unchanged: bool) -> Result<(), Refusal> {
    if unchanged { Ok(()) } else { Err(invalid("only updates to Labels are allowed")) }
}

fn check_unused(tables: &Tables, kind: &str, name: &str, used: impl Fn(&ContainerSpec) -> bool) -> Result<(), Refusal> {
    let users: Vec<&str> = tables
        .services()
        .filter(|s| s.spec.task.container.as_ref().is_some_and(&used))
        .map(|s| s.spec.name.as_str())
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    let word = if users.len() == 1 { "service" } else { "services" };
    Err(invalid(format!("{kind} '{name}' is in use by the following {word}: {}", users.join(", "))))
}
