//! Secrets and configs.
use super::{unsupported, version};
use crate::Refusal;
use crate::engine::mount::Driver;
use crate::engine::shape::Base64;
use crate::engine::{config as ec, secret as es};

fn templating_in(driver: Option<&Driver>) -> Result<String, Refusal> {
    match driver {
        None => Ok(String::new()),
        Some(d) if d.options.is_empty() => Ok(d.name.clone()),
        Some(_) => Err(unsupported("an option of a Templating driver")),
    }
}

fn templating_out(name: &str) -> Option<Driver> {
    (!name.is_empty()).then(|| Driver { name: name.to_owned(), options: Default::default() })
}

/// Parses a secret.
///
/// # Errors
/// 501 for a secret driver.
pub fn secret_spec_in(s: &es::SecretSpec) -> Result<model::SecretSpec, Refusal> {
    if s.driver.as_ref().is_some_and(|d| !d.name.is_empty()) {
        return Err(unsupported("a secret of an external driver"));
    }
    Ok(model::SecretSpec {
        name: s.name.clone(),
        labels: s.labels.clone(),
        data: s.data.0.clone(),
        templating: templating_in(s.templating.as_ref())?,
    })
}

/// Parses a config.
///
/// # Errors
/// 501 for options of a templating driver.
pub fn config_spec_in(s: &ec::ConfigSpec) -> Result<model::ConfigSpec, Refusal> {
    Ok(model::ConfigSpec {
        name: s.name.clone(),
        labels: s.labels.clone(),
        data: s.data.0.clone(),
        templating: templating_in(s.templating.as_ref())?,
    })
}

/// Shows a secret, never its data.
pub fn secret_out(s: &model::Secret) -> es::Secret {
    es::Secret {
        id: s.id.to_string(),
        version: version(&s.meta),
        created_at: s.meta.created_at.into(),
        updated_at: s.meta.updated_at.into(),
        spec: es::SecretSpec {
            name: s.spec.name.clone(),
            labels: s.spec.labels.clone(),
            data: Base64::default(),
            driver: None,
            templating: templating_out(&s.spec.templating),
        },
    }
}

/// Shows a config.
pub fn config_out(c: &model::Config) -> ec::Config {
    ec::Config {
        id: c.id.to_string(),
        version: version(&c.meta),
        created_at: c.meta.created_at.into(),
        updated_at: c.meta.updated_at.into(),
        spec: ec::ConfigSpec {
            name: c.spec.name.clone(),
            labels: c.spec.labels.clone(),
            data: Base64(c.spec.data.clone()),
            templating: templating_out(&c.spec.templating),
        },
    }
}
