//! Published ports, of containers and of services.
use super::pairs::fields;
use std::collections::BTreeMap;
use wire::engine::network::{PortBinding, PortMap};
use wire::engine::service::PortConfig;
use wire::engine::{Empty, Set};

fn range(text: &str) -> Result<(u16, u16), String> {
    let bad = |_| format!("invalid port: {text}");
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (from.parse().map_err(bad)?, to.parse().map_err(bad)?);
    if to < from { Err(format!("invalid range specified for port: {text}")) } else { Ok((from, to)) }
}

/// `80`, `80-90/udp` → one name for each port.
pub(crate) fn exposed(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (from, to) = range(ports)?;
    Ok((from..=to).map(|p| format!("{p}/{}", protocol.to_lowercase())).collect())
}

/// `[[ip:]host[-range]:]container[-range][/protocol]` into what is exposed and what is bound.
pub(crate) fn publish(text: &str, set: &mut Set, map: &mut PortMap) -> Result<(), String> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let (rest, container) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (ip, host) = match rest.rsplit_once(':') {
        Some((ip, host)) => (ip.trim_start_matches('[').trim_end_matches(']'), host),
        None if rest.contains('.') => (rest, ""),
        None => ("", rest),
    };
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {ip}"));
    }
    let (from, to) = range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let hosts = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    if let Some((h_from, h_to)) = hosts
        && h_to - h_from != to - from
        && from != to
    {
        return Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"));
    }
    for port in from..=to {
        let host_port = match hosts {
            None => String::new(),
            Some((h_from, h_to)) if from == to && h_to > h_from => format!("{h_from}-{h_to}"),
            Some((h_from, _)) => (h_from + (port - from)).to_string(),
        };
        let name = format!("{port}/{protocol}");
        set.insert(name.clone(), Empty {});
        let bindings = map.entry(name).or_default().get_or_insert_default();
        bindings.push(PortBinding { host_ip: ip.to_owned(), host_port });
    }
    Ok(())
}

/// A service's port: `8080:80/udp` or `published=8080,target=80,protocol=tcp,mode=host`.
pub(crate) fn service(text: &str) -> Result<Vec<PortConfig>, String> {
    if text.contains('=') {
        let mut port = PortConfig { protocol: "tcp".into(), publish_mode: "ingress".into(), ..PortConfig::default() };
        for (key, value) in fields(text)? {
            let Some(value) = value else { return Err("invalid field: ".to_owned() + &key) };
            match key.as_str() {
                "protocol" => match value.to_lowercase().as_str() {
                    p @ ("tcp" | "udp" | "sctp") => port.protocol = p.to_owned(),
                    _ => return Err(format!("invalid protocol value {value}")),
                },
                "mode" => match value.as_str() {
                    "ingress" | "host" => port.publish_mode = value,
                    _ => {
                        return Err(format!(
                            "invalid publish mode value ({value}): must be either 'ingress' or 'host'"
                        ));
                    }
                },
                "target" => {
                    port.target_port = number(&value)
                        .ok_or(format!("invalid target port ({value}): value must be an integer: invalid syntax"))?
                }
                "published" => {
                    port.published_port = number(&value)
                        .ok_or(format!("invalid published port ({value}): value must be an integer: invalid syntax"))?;
                }
                "name" => port.name = value,
                _ => return Err(format!("invalid field key: {key}")),
            }
        }
        if port.target_port == 0 {
            return Err(format!("missing mandatory field '{}'", "target"));
        }
        return Ok(vec![port]);
    }
    let (mut set, mut map) = (BTreeMap::new(), BTreeMap::new());
    publish(text, &mut set, &mut map)?;
    let mut out = Vec::new();
    for (name, bindings) in map {
        let (port, protocol) = name.split_once('/').unwrap_or((&name, "tcp"));
        for binding in bindings.unwrap_or_default() {
            if !binding.host_ip.is_empty() {
                return Err("hostip is not supported".into());
            }
            let (from, to) = match binding.host_port.as_str() {
                "" => (0, 0),
                host => range(host)?,
            };
            for published in from..=to {
                out.push(PortConfig {
                    protocol: protocol.to_owned(),
                    target_port: port.parse().map_err(|_| format!("invalid port: {port}"))?,
                    published_port: u32::from(published),
                    publish_mode: "ingress".into(),
                    ..PortConfig::default()
                });
            }
        }
    }
    Ok(out)
}

fn number(text: &str) -> Option<u32> {
    text.parse::<u16>().ok().map(u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_ports() {
        let table = [
            ("80", r#"{"80/tcp":[{"HostIp":"","HostPort":""}]}"#),
            ("8080:80/udp", r#"{"80/udp":[{"HostIp":"","HostPort":"8080"}]}"#),
            ("127.0.0.1:8080:80", r#"{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]}"#),
            ("127.0.0.1::80", r#"{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":""}]}"#),
            ("[::1]:8080:80", r#"{"80/tcp":[{"HostIp":"::1","HostPort":"8080"}]}"#),
            (
                "8080-8081:80-81",
                r#"{"80/tcp":[{"HostIp":"","HostPort":"8080"}],"81/tcp":[{"HostIp":"","HostPort":"8081"}]}"#,
            ),
            ("8000-9000:80", r#"{"80/tcp":[{"HostIp":"","HostPort":"8000-9000"}]}"#),
        ];
        for (text, json) in table {
            let (mut set, mut map) = (Set::new(), PortMap::new());
            publish(text, &mut set, &mut map).unwrap();
            assert_eq!(serde_json::to_string(&map).unwrap(), json, "{text}");
            assert_eq!(set.len(), map.len());
        }
        for bad in ["x", "1:x", "99999", "80/icmp", "1-3:1-2", "", "300.1.1.1:1:1"] {
            assert!(publish(bad, &mut Set::new(), &mut PortMap::new()).is_err(), "{bad}");
        }
        assert_eq!(exposed("80-81/udp").unwrap(), ["80/udp", "81/udp"]);
    }

    #[test]
    fn services_ports() {
        let one = |text: &str| serde_json::to_string(&service(text).unwrap()).unwrap();
        assert_eq!(
            one("4000:8080"),
            r#"[{"Protocol":"tcp","TargetPort":8080,"PublishedPort":4000,"PublishMode":"ingress"}]"#
        );
        assert_eq!(
            one("mode=host,published=1,target=2,protocol=udp"),
            r#"[{"Protocol":"udp","TargetPort":2,"PublishedPort":1,"PublishMode":"host"}]"#
        );
        assert_eq!(one("80"), r#"[{"Protocol":"tcp","TargetPort":80,"PublishMode":"ingress"}]"#);
        for bad in ["published=1", "target=x", "mode=x,target=1", "127.0.0.1:1:1", "nope=1,target=1"] {
            assert!(service(bad).is_err(), "{bad}");
        }
    }
}
