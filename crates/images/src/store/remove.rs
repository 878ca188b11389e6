//! Taking names, images and layers away, with Docker's rules and words.
use super::{Store, file};
use crate::{
    digest::{self, short},
    error::ImageError,
    reference::Reference,
    types::*,
};

/// Which obstacles count.
#[derive(Clone, Copy)]
struct Obstacles {
    references: bool,
    stopped_containers: bool,
}

struct Obstacle {
    sentence: String,
    used: bool,
}

impl Store {
    /// `docker rmi`.
    pub(crate) fn remove(
        &self,
        text: &str,
        force: bool,
        no_prune: bool,
        uses: &[ContainerUse],
    ) -> Result<Vec<Removed>, ImageError> {
        let _writer = self.writer.lock();
        let image = self.resolve(text)?;
        let id = image.id.as_str();
        let mut removed = Vec::new();
        let names = self.names_of(id);
        if is_prefix_of(id, text) {
            if single_reference(&names) {
                // By id the last name does not stand in the way, and is taken along.
                self.obstacle(id, Obstacles { references: false, stopped_containers: !force }, uses)?;
                for name in &names {
                    self.unname(id, name)?;
                    removed.push(Removed::Untagged(name.familiar()));
                }
            }
        } else {
            if !force
                && single_reference(&names)
                && let Some(user) = uses.iter().find(|u| u.image_id == id)
            {
                return Err(ImageError::Conflict(format!(
                    "unable to remove repository reference \"{text}\" (must force) - container {} is using its referenced image {}",
                    short(&user.container_id),
                    short(id)
                )));
            }
            let asked = Reference::parse(text)?;
            let asked = match asked.digest() {
                Some(digest) => asked.with_digest(digest),
                None => asked.or_latest(),
            };
            self.unname(id, &asked)?;
            removed.push(Removed::Untagged(asked.familiar()));
            let mut names = self.names_of(id);
            // A digest of a repository whose last tag went is of no use to anybody.
            if asked.digest().is_none() && !names.iter().any(|n| n.digest().is_none() && n.name() == asked.name()) {
                for name in names.iter().filter(|n| n.digest().is_some() && n.name() == asked.name()) {
                    self.unname(id, name)?;
                    removed.push(Removed::Untagged(name.familiar()));
                }
                names = self.names_of(id);
            }
            if !names.is_empty() {
                return Ok(removed);
            }
        }
        self.delete(id, force, !no_prune, false, uses, &mut removed)?;
        Ok(removed)
    }

    /// `docker image prune`.
    pub(crate) fn prune(&self, filter: &PruneFilter, uses: &[ContainerUse]) -> Result<Pruned, ImageError> {
        let _writer = self.writer.lock();
        let mut pruned = Pruned::default();
        for image in self.list() {
            let in_use = uses.iter().any(|u| u.image_id == image.id);
            let has_children = self.has_children(&image.id);
            if in_use || has_children || (filter.dangling_only && !image.repo_tags.is_empty()) {
                continue;
            }
            if filter.dangling_only && !image.repo_digests.is_empty() {
                continue;
            }
            if filter.until_unix_nanos.is_some_and(|until| image.created_unix_nanos >= until)
                || !labels_fit(&image, filter)
            {
                continue;
            }
            let before = self.layers_size();
            for name in self.names_of(&image.id) {
                self.unname(&image.id, &name)?;
                pruned.removed.push(Removed::Untagged(name.familiar()));
            }
            self.delete(&image.id, false, true, true, uses, &mut pruned.removed)?;
            pruned.space_reclaimed += before.saturating_sub(self.layers_size());
        }
        Ok(pruned)
    }

    pub(crate) fn layers_size(&self) -> u64 {
        self.state.read().layers.values().map(|l| l.size).sum()
    }

    fn delete(
        &self,
        id: &str,
        force: bool,
        prune: bool,
        quiet: bool,
        uses: &[ContainerUse],
        removed: &mut Vec<Removed>,
    ) -> Result<(), ImageError> {
        if let Some(found) = self.find_obstacle(id, Obstacles { references: !force, stopped_containers: !force }, uses)
        {
            let dangling = self.names_of(id).is_empty();
            if quiet && (!dangling || found.used) {
                return Ok(());
            }
            return Err(ImageError::Conflict(found.sentence));
        }
        let parent = self.state.read().images.get(id).and_then(|e| e.view.parent.clone());
        for name in self.names_of(id) {
            self.unname(id, &name)?;
            removed.push(Removed::Untagged(name.familiar()));
        }
        // The record first: from here on a crash leaves orphans, which the next open collects.
        file::remove(&self.paths.image(id))?;
        file::remove(&self.paths.blob(id))?;
        let gone = self.state.write().images.remove(id);
        removed.push(Removed::Deleted(id.to_owned()));
        if let Some(entry) = gone {
            removed.extend(self.drop_layers_of(&entry.view.layers)?.into_iter().map(Removed::Deleted));
        }
        match parent {
            Some(parent) if prune && self.state.read().images.contains_key(&parent) => {
                self.delete(&parent, false, true, true, uses, removed)
            }
            _ => Ok(()),
        }
    }

    /// Removes those of these layers that nothing needs any more; tells their chain ids, topmost first.
    fn drop_layers_of(&self, diff_ids: &[String]) -> Result<Vec<String>, ImageError> {
        let chains = digest::chain_ids(diff_ids);
        let mut gone = Vec::new();
        for (n, diff_id) in diff_ids.iter().enumerate().rev() {
            let (chain_needed, layer_needed) = {
                let state = self.state.read();
                let stacks = state.images.values().map(|e| &e.view.layers).chain(state.rootfs.values());
                let chain_needed = stacks.clone().any(|layers| layers.get(..=n) == diff_ids.get(..=n));
                (chain_needed, chain_needed || state.needed_layers().contains(diff_id))
            };
            if !chain_needed {
                gone.push(chains[n].clone());
            }
            if !layer_needed {
                self.drop_layer_files(diff_id)?;
            }
        }
        Ok(gone)
    }

    /// Layers of a container that is gone; used when an image was removed before its container.
    pub(crate) fn drop_unneeded(&self, diff_ids: &[String]) -> Result<(), ImageError> {
        let _writer = self.writer.lock();
        self.drop_layers_of(diff_ids).map(drop)
    }

    pub(crate) fn drop_layer_files(&self, diff_id: &str) -> Result<(), ImageError> {
        let record = self.state.write().layers.remove(diff_id);
        let dir = self.paths.layer(diff_id);
        let aside = self.staging()?;
        // In one step out of sight, so that a crash never leaves half a layer that looks whole.
        if let Err(e) = std::fs::rename(&dir, aside.path().join("layer"))
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(ImageError::Io { what: "remove", path: dir.display().to_string(), source: e });
        }
        if let Some(record) = record {
            file::remove(&self.paths.links().join(&record.link))?;
        }
        Ok(())
    }

    /// All names of an image, tags first.
    pub(crate) fn names_of(&self, id: &str) -> Vec<Reference> {
        let state = self.state.read();
        let Some(entry) = state.images.get(id) else { return Vec::new() };
        entry.record.tags.keys().chain(&entry.record.digests).filter_map(|n| Reference::parse(n).ok()).collect()
    }

    fn unname(&self, id: &str, name: &Reference) -> Result<(), ImageError> {
        let text = name.to_string();
        let record = self.state.read().images.get(id).map(|e| e.record.clone());
        if let Some(mut record) = record {
            record.tags.remove(&text);
            record.digests.retain(|d| *d != text);
            self.put_image(record, None)?;
        }
        self.state.write().names.remove(&text);
        Ok(())
    }

    fn has_children(&self, id: &str) -> bool {
        self.state.read().images.values().any(|e| e.view.parent.as_deref() == Some(id))
    }

    fn obstacle(&self, id: &str, which: Obstacles, uses: &[ContainerUse]) -> Result<(), ImageError> {
        self.find_obstacle(id, which, uses).map_or(Ok(()), |o| Err(ImageError::Conflict(o.sentence)))
    }

    fn find_obstacle(&self, id: &str, which: Obstacles, uses: &[ContainerUse]) -> Option<Obstacle> {
        let say = |hard: bool, used: bool, why: String| {
            let force = if hard { "cannot be forced" } else { "must be forced" };
            Some(Obstacle { sentence: format!("unable to delete {} ({force}) - {why}", short(id)), used })
        };
        if self.has_children(id) {
            return say(true, false, "image has dependent child images".into());
        }
        let mut mine = uses.iter().filter(|u| u.image_id == id);
        if let Some(user) = mine.clone().find(|u| u.running) {
            return say(true, true, format!("image is being used by running container {}", short(&user.container_id)));
        }
        if which.references && !self.names_of(id).is_empty() {
            return say(false, false, "image is referenced in multiple repositories".into());
        }
        if which.stopped_containers
            && let Some(user) = mine.next()
        {
            return say(false, true, format!("image is being used by stopped container {}", short(&user.container_id)));
        }
        None
    }
}

/// Whether the text is (a prefix of) the id rather than a name.
fn is_prefix_of(id: &str, text: &str) -> bool {
    if text.starts_with("sha256:") { id.starts_with(text) } else { digest::hex_of(id).starts_with(text) }
}

/// At most one tag, and digests of its repository only.
fn single_reference(names: &[Reference]) -> bool {
    if names.len() <= 1 {
        return true;
    }
    let mut tags = names.iter().filter(|n| n.digest().is_none());
    let single = tags.next().or(names.first());
    if tags.next().is_some() {
        return false;
    }
    let name = single.map(Reference::name).unwrap_or_default();
    names.iter().filter(|n| n.digest().is_some()).all(|n| n.name() == name)
}

fn labels_fit(image: &Image, filter: &PruneFilter) -> bool {
    let labels = &image.config.config.labels;
    let has = |wanted: &String| match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(wanted),
    };
    filter.labels.iter().all(has) && !filter.not_labels.iter().any(has)
}
