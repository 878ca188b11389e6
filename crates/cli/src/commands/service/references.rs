//! `--secret` and `--config`: names and where they appear, then with their ids.
use crate::Ctx;
use crate::spec::pairs::fields;
use wire::engine::Filters;
use wire::engine::config::Config;
use wire::engine::secret::Secret;
use wire::engine::service::{ConfigReference, FileTarget, SecretReference};

/// A name and where it appears.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Use {
    pub(super) name: String,
    pub(super) file: FileTarget,
}

impl std::str::FromStr for Use {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut used = Self {
            name: String::new(),
            file: FileTarget { uid: "0".into(), gid: "0".into(), mode: 0o444, ..FileTarget::default() },
        };
        if text.contains(['=', ',']) {
            for (key, value) in fields(text)? {
                let Some(value) = value else { return Err(format!("invalid field '{key}' must be a key=value pair")) };
                match key.as_str() {
                    "source" | "src" => used.name = value,
                    "target" => used.file.name = value,
                    "uid" => used.file.uid = value,
                    "gid" => used.file.gid = value,
                    "mode" => {
                        used.file.mode =
                            u32::from_str_radix(&value, 8).map_err(|e| format!("invalid mode specified: {e}"))?;
                    }
                    _ => return Err(format!("invalid field in secret request: {key}")),
                }
            }
        } else {
            text.clone_into(&mut used.name);
        }
        if used.name.is_empty() {
            return Err("source is required".into());
        }
        Ok(used)
    }
}

impl Use {
    fn target(&self, default: String) -> FileTarget {
        let mut file = self.file.clone();
        if file.name.is_empty() {
            file.name = default;
        }
        file
    }
}

pub(super) async fn secrets(ctx: &Ctx, uses: &[Use]) -> anyhow::Result<Vec<SecretReference>> {
    let mut out = Vec::new();
    for used in uses {
        let mut by_name = Filters::default();
        by_name.add("name", &used.name);
        let found: Vec<Secret> = ctx.client.get("/secrets").filters(&by_name).read().await?;
        let Some(secret) = found.into_iter().find(|s| s.spec.name == used.name || s.id == used.name) else {
            anyhow::bail!("secret not found: {}", used.name);
        };
        out.push(SecretReference {
            file: Some(used.target(used.name.clone())),
            secret_id: secret.id,
            secret_name: secret.spec.name,
        });
    }
    Ok(out)
}

pub(super) async fn configs(ctx: &Ctx, uses: &[Use]) -> anyhow::Result<Vec<ConfigReference>> {
    let mut out = Vec::new();
    for used in uses {
        let mut by_name = Filters::default();
        by_name.add("name", &used.name);
        let found: Vec<Config> = ctx.client.get("/configs").filters(&by_name).read().await?;
        let Some(config) = found.into_iter().find(|c| c.spec.name == used.name || c.id == used.name) else {
            anyhow::bail!("config not found: {}", used.name);
        };
        out.push(ConfigReference {
            file: Some(used.target(format!("/{}", used.name))),
            config_id: config.id,
            config_name: config.spec.name,
            ..ConfigReference::default()
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::Use;

    #[test]
    fn uses_are_read() {
        let used: Use = "source=tsecret,target=the-secret,mode=0400".parse().unwrap();
        assert_eq!((used.name.as_str(), used.file.name.as_str(), used.file.mode), ("tsecret", "the-secret", 0o400));
        assert_eq!("x".parse::<Use>().unwrap().file.mode, 0o444);
        for bad in ["target=x", "source=x,mode=9", "source=x,nope=1"] {
            assert!(bad.parse::<Use>().is_err(), "{bad}");
        }
    }
}
