//! Whether a step has been made before. The first miss of a stage ends its use.
use super::{Failure, Job};
use images::{Platform, RunConfig};

pub(crate) enum Cache {
    /// `--no-cache`, or a miss.
    Closed,
    /// All that was built here.
    Local,
    /// Only these images (`--cache-from`).
    From(Vec<String>),
}

impl Job {
    /// A fresh one for a stage.
    pub(crate) fn cache(&self) -> Cache {
        if self.request.no_cache {
            return Cache::Closed;
        }
        if self.request.cache_from.is_empty() {
            return Cache::Local;
        }
        let known = self.request.cache_from.iter().filter_map(|name| self.builder.images.get(name).ok());
        Cache::From(known.map(|i| i.id.clone()).collect())
    }
}

impl Cache {
    pub(crate) async fn probe(
        &mut self,
        images: &images::Images,
        parent: Option<&str>,
        container_config: &RunConfig,
        platform: &Platform,
    ) -> Result<Option<String>, Failure> {
        let parent = parent.map(str::to_owned);
        let found = match self {
            Self::Closed => return Ok(None),
            Self::Local => images.cached_step(parent, container_config.clone(), platform.clone()).await?,
            Self::From(sources) => {
                let asked =
                    images.cached_from(parent, container_config.clone(), platform.clone(), sources.clone()).await?;
                asked.map(|(id, only)| {
                    if let Some(only) = only {
                        *sources = vec![only];
                    }
                    id
                })
            }
        };
        if found.is_none() {
            *self = Self::Closed;
        }
        Ok(found)
    }
}
