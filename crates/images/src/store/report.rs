//! History and disk use.
use super::{Store, parse_time};
use crate::types::*;
use std::collections::HashMap;

impl Store {
    /// `docker history`: steps newest first; only the newest has an id unless parents are in the store.
    pub(crate) fn history(&self, image: &Image) -> Vec<HistoryItem> {
        let state = self.state.read();
        let mut layers = image.layers.iter();
        let mut items: Vec<HistoryItem> = Vec::new();
        for step in &image.config.history {
            let layer = if step.empty_layer { None } else { layers.next() };
            items.push(HistoryItem {
                id: "<missing>".into(),
                created_unix_seconds: step.created.as_deref().map_or(0, parse_time) / 1_000_000_000,
                created_by: step.created_by.clone(),
                tags: Vec::new(),
                size: layer.and_then(|l| state.layers.get(l)).map_or(0, |l| l.size),
                comment: step.comment.clone(),
            });
        }
        items.reverse();
        // Every parent made one step.
        let mut at = state.images.get(&image.id).map(|e| &e.view);
        for item in &mut items {
            let Some(view) = at else { break };
            item.id.clone_from(&view.id);
            item.tags.clone_from(&view.repo_tags);
            at = view.parent.as_ref().and_then(|p| state.images.get(p)).map(|e| &e.view);
        }
        items
    }

    pub(crate) fn usage(&self) -> Usage {
        let state = self.state.read();
        let mut users: HashMap<&String, usize> = HashMap::new();
        for entry in state.images.values() {
            for layer in &entry.view.layers {
                *users.entry(layer).or_default() += 1;
            }
        }
        let size = |layer: &String| state.layers.get(layer).map_or(0, |l| l.size);
        let mut images: Vec<ImageUsage> = state
            .images
            .values()
            .map(|entry| ImageUsage {
                id: entry.view.id.clone(),
                size: entry.view.size,
                shared_size: entry.view.layers.iter().filter(|l| users.get(l).is_some_and(|n| *n > 1)).map(size).sum(),
            })
            .collect();
        images.sort_by(|a, b| a.id.cmp(&b.id));
        Usage { layers_size: state.layers.values().map(|l| l.size).sum(), images }
    }
}
