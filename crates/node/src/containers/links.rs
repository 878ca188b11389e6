//! Legacy links (`--link db:alias`).
//!
//! On the default bridge a link gives its holder names in `/etc/hosts` and variables that tell where the other container
//! is; the other must run. On a network of one's own it is a private alias, served by the embedded name service, and the
//! other may come later.
use super::record::Record;
use super::{Container, Containers};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use wire::Refusal;
use wire::engine::container::HostConfig;
use wire::engine::network::EndpointSettings;

const DEFAULT_NETWORK: &str = "bridge";

/// Who is linked, and what it is called. Also reads what inspection shows (`/db:/web/alias`).
fn parse(link: &str) -> Result<(&str, &str), Refusal> {
    let bad = || Refusal::invalid(format!("bad format for links: {link}"));
    let (target, alias) = match link.split_once(':') {
        None => (link, link),
        Some((_, alias)) if alias.contains(':') => return Err(bad()),
        Some((target, alias)) if target.starts_with('/') => (target, alias.rsplit('/').next().unwrap_or(alias)),
        Some(both) => both,
    };
    let target = target.trim_start_matches('/');
    if target.is_empty() || alias.is_empty() { Err(bad()) } else { Ok((target, alias)) }
}

/// Private aliases on one network: what they are called, and whom they stand for.
pub(super) fn aliases(wish: &EndpointSettings) -> Result<Vec<(String, String)>, Refusal> {
    let pair = |link: &String| parse(link).map(|(target, alias)| (alias.to_owned(), target.to_owned()));
    wish.links.iter().flatten().map(pair).collect()
}

/// The variables by which a linked container is told of: `DB_NAME`, `DB_PORT`, `DB_PORT_5432_TCP…`, `DB_ENV_…`.
fn variables(holder: &str, alias: &str, address: &str, other: &Record) -> Vec<String> {
    let prefix = alias.to_uppercase().replace('-', "_");
    let mut all = vec![format!("{prefix}_NAME=/{holder}/{alias}")];
    let mut ports: Vec<(u16, &str)> = other
        .config
        .exposed_ports
        .keys()
        .map(|key| key.split_once('/').unwrap_or((key, "tcp")))
        .filter_map(|(port, protocol)| Some((port.parse().ok()?, protocol)))
        .collect();
    ports.sort_unstable_by_key(|(port, protocol)| (*port, *protocol != "tcp"));
    if let Some((port, protocol)) = ports.first() {
        all.push(format!("{prefix}_PORT={protocol}://{address}:{port}"));
    }
    for (port, protocol) in ports {
        let one = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
        all.push(format!("{one}={protocol}://{address}:{port}"));
        all.push(format!("{one}_ADDR={address}"));
        all.push(format!("{one}_PORT={port}"));
        all.push(format!("{one}_PROTO={protocol}"));
    }
    // HOME and PATH are the image's business, not a message to others.
    let told = other.config.env.iter().flatten().filter_map(|e| e.split_once('='));
    all.extend(told.filter(|(k, _)| !matches!(*k, "HOME" | "PATH")).map(|(k, v)| format!("{prefix}_ENV_{k}={v}")));
    all
}

impl Containers {
    /// Checks the links of a container to be made. Those on the default bridge are kept by the other's id, so that a
    /// renamed container stays linked; those of a host configuration on a network of one's own become its aliases.
    pub(super) fn take_links(
        &self,
        host: &mut HostConfig,
        networks: &mut BTreeMap<String, EndpointSettings>,
    ) -> Result<(), Refusal> {
        for wish in networks.values() {
            aliases(wish)?;
        }
        let Some(links) = host.links.as_mut().filter(|l| !l.is_empty()) else { return Ok(()) };
        let conflict = |kind: &str| {
            Err(Refusal::invalid(format!(
                "conflicting options: {kind} type networking can't be used with links. This would result in undefined behavior"
            )))
        };
        match host.network_mode.as_str() {
            "host" => return conflict("host"),
            mode if mode.starts_with("container:") => return conflict("container"),
            DEFAULT_NETWORK => {
                for link in links {
                    let (target, alias) = parse(link)?;
                    let other = self.find(target).map_err(|e| {
                        Refusal::invalid(format!("could not get container for {target}: {}", e.message))
                    })?;
                    if other.record.read().host_config.network_mode == "host" {
                        return conflict("host");
                    }
                    *link = format!("{}:{alias}", other.id);
                }
            }
            mode => {
                let own = networks.entry(self.network_name(mode)).or_default().links.get_or_insert_default();
                for link in links {
                    parse(link)?;
                    if !own.contains(link) {
                        own.push(link.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// The containers that `holder` is linked to on the default bridge, and by which alias. Those that have been removed
    /// are no longer linked.
    fn linked(&self, holder: &Record) -> Vec<(Arc<Container>, String)> {
        if holder.host_config.network_mode != DEFAULT_NETWORK {
            return Vec::new();
        }
        let links = holder.host_config.links.iter().flatten().filter_map(|l| parse(l).ok());
        links.filter_map(|(id, alias)| Some((self.find(id).ok()?, alias.to_owned()))).collect()
    }

    /// The container that `holder/alias` means.
    pub(super) fn linked_as(&self, name: &str) -> Option<Arc<Container>> {
        let (holder, alias) = name.rsplit_once('/')?;
        let holder = self.find(holder).ok()?.record.read().clone();
        self.linked(&holder).into_iter().find(|(_, a)| a == alias).map(|(other, _)| other)
    }

    /// Links as inspection shows them: `/db:/web/alias`.
    pub(super) fn shown_links(&self, holder: &Record) -> Option<Vec<String>> {
        // Those of other networks are shown with the networks.
        if holder.host_config.network_mode != DEFAULT_NETWORK {
            return None;
        }
        let shown = |(other, alias): &(Arc<Container>, String)| {
            format!("/{}:/{}/{alias}", other.record.read().name, holder.name)
        };
        let all: Vec<String> = self.linked(holder).iter().map(shown).collect();
        (!all.is_empty()).then_some(all)
    }

    /// Every `/holder/alias` of links on the default bridge, with the id of the container that it is a name of.
    pub(super) fn link_names(&self) -> Vec<(String, String)> {
        let holders = self.all();
        let of = |holder: &Arc<Container>| {
            let record = holder.record.read();
            let has_links = record.host_config.links.as_ref().is_some_and(|l| !l.is_empty());
            has_links.then(|| record.clone())
        };
        let all = holders.iter().filter_map(of);
        all.flat_map(|h| {
            let name = |(other, alias): (Arc<Container>, String)| (format!("/{}/{alias}", h.name), other.id.clone());
            self.linked(&h).into_iter().map(name).collect::<Vec<_>>()
        })
        .collect()
    }

    /// Lines of `/etc/hosts` for the linked containers that run.
    pub(super) fn linked_hosts(&self, holder: &Record) -> Vec<(String, IpAddr)> {
        let mut lines = Vec::new();
        for (other, alias) in self.linked(holder) {
            let other = other.record.read();
            let Some(address) = address_on_default(&other) else { continue };
            for name in [alias.as_str(), other.short_id(), other.name.as_str()] {
                if !lines.iter().any(|(n, a)| n == name && *a == address) {
                    lines.push((name.to_owned(), address));
                }
            }
        }
        lines
    }

    /// The environment that the links give. Linked containers must run.
    pub(super) fn linked_variables(&self, holder: &Record) -> Result<Vec<String>, Refusal> {
        let mut all = Vec::new();
        for (other, alias) in self.linked(holder) {
            let other = other.record.read();
            if !other.state.status.is_up() {
                return Err(Refusal::internal(format!(
                    "Cannot link to a non running container: /{} AS /{}/{alias}",
                    other.name, holder.name
                )));
            }
            let Some(address) = address_on_default(&other) else {
                return Err(Refusal::internal(format!(
                    "container {} not attached to default bridge network",
                    other.id
                )));
            };
            all.extend(variables(&holder.name, &alias, &address.to_string(), &other));
        }
        Ok(all)
    }

    /// Removes the link `holder/alias`; both containers stay.
    ///
    /// # Errors
    /// 404 without such a link; 409 when a container's own name is meant.
    pub async fn remove_link(&self, name: &str) -> Result<(), Refusal> {
        let name = name.trim_start_matches('/');
        let Some((holder, alias)) = name.rsplit_once('/') else {
            self.find(name)?;
            return Err(Refusal::conflict("Conflict, cannot remove the default link name of the container"));
        };
        let c = self.find(holder)?;
        let _gate = c.gate.lock().await;
        {
            let mut r = c.record.write();
            let links = r.host_config.links.get_or_insert_default();
            let before = links.len();
            links.retain(|l| !parse(l).is_ok_and(|(_, a)| a == alias));
            if links.len() == before {
                return Err(Refusal::not_found(format!("No such link: /{name}")));
            }
        }
        self.save(&c);
        self.refresh_hosts(&c).await
    }

    /// The container has got an address: those that are linked to it learn it.
    pub(super) async fn tell_holders(&self, of: &Container) {
        for holder in self.all() {
            let linked = self.linked(&holder.record.read());
            if linked.iter().any(|(other, _)| other.id == of.id)
                && let Err(e) = self.refresh_hosts(&holder).await
            {
                tracing::warn!(container = %holder.id, error = %e, "the names of its links cannot be renewed");
            }
        }
    }

    async fn refresh_hosts(&self, holder: &Container) -> Result<(), Refusal> {
        let record = holder.record.read().clone();
        if !record.state.status.is_up() || record.host_config.network_mode.starts_with("container:") {
            return Ok(());
        }
        self.inner.base.networks.create_sandbox(self.sandbox_spec(&record)?).await?;
        self.write_names(&record.id).await
    }
}

fn address_on_default(r: &Record) -> Option<IpAddr> {
    r.networks.get(DEFAULT_NETWORK)?.ip_address.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_it_is_given_and_as_it_is_shown() {
        assert_eq!(parse("db").unwrap(), ("db", "db"));
        assert_eq!(parse("db:store").unwrap(), ("db", "store"));
        assert_eq!(parse("/db:/web/store").unwrap(), ("db", "store"));
        for bad in ["", ":", "a:", ":a", "a:b:c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_tell_where_the_other_is_and_what_it_was_given() {
        let mut other = Record::default();
        other.config.env = Some(vec!["FOO=1".into(), "PATH=/bin".into()]);
        for port in ["53/udp", "53/tcp", "8080/tcp"] {
            other.config.exposed_ports.insert(port.into(), Default::default());
        }
        let all = variables("web", "my-db", "172.17.0.2", &other);
        assert_eq!(
            all[..3],
            ["MY_DB_NAME=/web/my-db", "MY_DB_PORT=tcp://172.17.0.2:53", "MY_DB_PORT_53_TCP=tcp://172.17.0.2:53"]
        );
        assert!(
            all.contains(&"MY_DB_PORT_53_UDP_PROTO=udp".into())
                && all.contains(&"MY_DB_PORT_8080_TCP_ADDR=172.17.0.2".into())
        );
        assert_eq!(all.last().unwrap(), "MY_DB_ENV_FOO=1");
    }
}
