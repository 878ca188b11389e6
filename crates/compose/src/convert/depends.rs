//! `depends_on`: which services are made first, and what is waited for.
use crate::read::At;
use crate::{ComposeError, Condition, Dependency, Stack};
use std::collections::BTreeMap;

type Read<T> = Result<T, ComposeError>;

/// A list of names, or a mapping with a condition for each.
pub(super) fn all(service: &At<'_>) -> Read<Vec<Dependency>> {
    let Some(at) = service.get("depends_on") else { return Ok(Vec::new()) };
    if at.value.is_sequence() {
        let started = |service| Dependency { service, condition: Condition::Started, required: true };
        return Ok(at.text_list()?.into_iter().map(started).collect());
    }
    if !at.value.is_mapping() {
        return at.shape("must be a mapping or a list");
    }
    let mut all = Vec::new();
    for (service, wish) in at.entries()? {
        if !wish.value.is_mapping() {
            return wish.shape("must be a mapping");
        }
        let Some(word) = wish.get("condition") else { return wish.shape("condition is required") };
        let condition = match word.text()?.as_str() {
            "service_started" => Condition::Started,
            "service_healthy" => Condition::Healthy,
            "service_completed_successfully" => Condition::Completed,
            other => {
                return word.wrong(format!(
                    "unknown condition {other:?}: service_started, service_healthy or service_completed_successfully \
                     is expected"
                ));
            }
        };
        if wish.get("restart").map(|r| r.flag()).transpose()? == Some(true) {
            return wish.wrong("restart is not supported: dependencies are honoured at the first start only");
        }
        let required = wish.get("required").map(|r| r.flag()).transpose()?.unwrap_or(true);
        all.push(Dependency { service, condition, required });
    }
    Ok(all)
}

/// Every dependency is there and nothing waits for itself.
pub(super) fn check(root: &At<'_>, stack: &Stack) -> Read<()> {
    let at = |service: &str| At { path: format!("services.{service}.depends_on"), value: root.value };
    for (name, service) in &stack.services {
        for dependency in service.depends_on.iter().filter(|d| d.required) {
            if !stack.services.contains_key(&dependency.service) {
                return at(name)
                    .wrong(format!("service \"{name}\" depends on undefined service \"{}\"", dependency.service));
            }
        }
    }
    let mut known = BTreeMap::new();
    for name in stack.services.keys() {
        if let Some(path) = circle(stack, name, &mut Vec::new(), &mut known) {
            return at(name).wrong(format!("dependency cycle detected: {}", path.join(" -> ")));
        }
    }
    Ok(())
}

/// The way back to a service that is on the way already. `free`: services from which no such way leads.
fn circle<'s>(
    stack: &'s Stack,
    name: &'s str,
    way: &mut Vec<&'s str>,
    free: &mut BTreeMap<&'s str, ()>,
) -> Option<Vec<&'s str>> {
    if free.contains_key(name) {
        return None;
    }
    if let Some(at) = way.iter().position(|n| *n == name) {
        let mut found = way[at..].to_vec();
        found.push(name);
        return Some(found);
    }
    let service = stack.services.get(name)?;
    way.push(name);
    for dependency in &service.depends_on {
        if let Some(found) = circle(stack, &dependency.service, way, free) {
            return Some(found);
        }
    }
    way.pop();
    free.insert(name, ());
    None
}
