//! Published ports.
//!
//! ```text
//!  short: [[address:]published[-published]:]target[-target][/protocol]
//!  long:  {target, published, protocol, mode, host_ip, name}
//! ```
use crate::ComposeError;
use crate::read::At;
use model::{PortConfig, Protocol, PublishMode};
use serde_yaml_ng::{Mapping, Value};
use std::net::IpAddr;
use std::ops::RangeInclusive;

type Read<T> = Result<T, ComposeError>;

pub(super) fn all(at: Option<&At<'_>>) -> Read<Vec<PortConfig>> {
    let mut ports = Vec::new();
    for item in at.map(|a| a.items()).transpose()?.unwrap_or_default() {
        if item.value.is_mapping() {
            ports.push(long(&item)?);
        } else {
            let text = item.text()?;
            match short(&text) {
                Ok(more) => ports.extend(more),
                Err(why) => return item.wrong(why),
            }
        }
    }
    // As Docker does, so that an unchanged file gives an unchanged spec.
    ports.sort_by_key(|p| (p.published_port, p.target_port, p.protocol));
    ports.dedup();
    Ok(ports)
}

fn long(at: &At<'_>) -> Read<PortConfig> {
    let number = |key: &str| -> Read<u16> {
        match at.get(key) {
            None => Ok(0),
            Some(value) => match u16::try_from(value.whole()?) {
                Ok(n) => Ok(n),
                Err(_) => value.wrong(format!("invalid {key} port {}: 0 to 65535 is expected", value.whole()?)),
            },
        }
    };
    let target_port = number("target")?;
    if target_port == 0 {
        return at.shape("target is required");
    }
    let protocol = match at.get("protocol") {
        None => Protocol::Tcp,
        Some(p) => p.text()?.parse().or_else(|e: String| p.wrong(e))?,
    };
    let publish_mode = match at.get("mode") {
        None => PublishMode::Ingress,
        Some(m) => match m.text()?.as_str() {
            "" | "ingress" => PublishMode::Ingress,
            "host" => PublishMode::Host,
            other => return m.wrong(format!("invalid publish mode value ({other}): must be either ingress or host")),
        },
    };
    let host_ip = match at.get("host_ip") {
        None => None,
        Some(ip) => match address(&ip.text()?) {
            Ok(address) => address,
            Err(why) => return ip.wrong(why),
        },
    };
    Ok(PortConfig {
        name: at.get("name").map(|n| n.text()).transpose()?.unwrap_or_default(),
        protocol,
        target_port,
        published_port: number("published")?,
        publish_mode,
        host_ip,
    })
}

/// `None`: every address.
fn address(text: &str) -> Result<Option<IpAddr>, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        _ if bare.is_empty() => Ok(None),
        Ok(address) => Ok(Some(address).filter(|a| !a.is_unspecified())),
        Err(_) => Err(format!("Invalid ip address: {text}")),
    }
}

/// The ports of a list one by one and in long form, so that those of two files can be compared. What cannot be read
/// stays as it is; its error comes later, with its place.
pub(crate) fn one_by_one(list: Vec<Value>) -> Vec<Value> {
    let mut out = Vec::new();
    for item in list {
        let read = match &item {
            Value::String(text) => short(text).ok(),
            Value::Number(n) => short(&n.to_string()).ok(),
            _ => None,
        };
        match read {
            Some(ports) => out.extend(ports.iter().map(|p| Value::Mapping(as_mapping(p)))),
            None => out.push(item),
        }
    }
    out
}

fn as_mapping(port: &PortConfig) -> Mapping {
    let mut map = Mapping::new();
    map.insert("mode".into(), if port.publish_mode == PublishMode::Host { "host" } else { "ingress" }.into());
    map.insert("target".into(), port.target_port.into());
    if port.published_port != 0 {
        map.insert("published".into(), port.published_port.into());
    }
    map.insert("protocol".into(), port.protocol.as_str().into());
    if let Some(address) = port.host_ip {
        map.insert("host_ip".into(), address.to_string().into());
    }
    map
}

fn short(text: &str) -> Result<Vec<PortConfig>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol: Protocol = protocol.parse().map_err(|_| format!("invalid proto: {protocol}"))?;
    let (front, target) = ports.rsplit_once(':').map_or((None, ports), |(f, t)| (Some(f), t));
    let (host, published) = match front {
        None => ("", None),
        Some(front) => match front.rsplit_once(':') {
            Some((host, published)) => (host, Some(published)),
            None => ("", Some(front)),
        },
    };
    if target.is_empty() {
        return Err(format!("No port specified: {text}<empty>"));
    }
    let host_ip = address(host)?;
    let targets = range(target).ok_or_else(|| format!("Invalid containerPort: {target}"))?;
    let config = |target_port, published_port| PortConfig {
        protocol,
        target_port,
        published_port,
        host_ip,
        ..PortConfig::default()
    };
    let Some(published) = published.filter(|p| !p.is_empty()) else {
        return Ok(targets.map(|t| config(t, 0)).collect());
    };
    let publisheds = range(published).ok_or_else(|| format!("Invalid hostPort: {published}"))?;
    if targets.len() == publisheds.len() {
        return Ok(targets.zip(publisheds).map(|(t, p)| config(t, p)).collect());
    }
    // Several ports outside may lead to one inside, but not the other way round.
    if targets.len() != 1 {
        return Err(format!("Invalid ranges specified for container and host Ports: {target} and {published}"));
    }
    Ok(publisheds.map(|p| config(*targets.start(), p)).collect())
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |t: &str| t.parse::<u16>().ok().filter(|n| *n > 0 && t.bytes().all(|b| b.is_ascii_digit()));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let at = |p: &PortConfig| p.host_ip.map(|a| format!("{a} ")).unwrap_or_default();
        let show = |p: &PortConfig| format!("{}{}:{}/{}", at(p), p.published_port, p.target_port, p.protocol);
        Ok(short(text)?.iter().map(show).collect())
    }

    #[test]
    fn short_ports() {
        let table: [(&str, &[&str]); 9] = [
            ("80", &["0:80/tcp"]),
            ("8080:80", &["8080:80/tcp"]),
            ("53:53/udp", &["53:53/udp"]),
            ("3000-3002", &["0:3000/tcp", "0:3001/tcp", "0:3002/tcp"]),
            ("9000-9001:80-81", &["9000:80/tcp", "9001:81/tcp"]),
            ("9000-9001:80", &["9000:80/tcp", "9001:80/tcp"]),
            ("127.0.0.1:80:81", &["127.0.0.1 80:81/tcp"]),
            ("[::1]::81", &["::1 0:81/tcp"]),
            ("0.0.0.0:80:81", &["80:81/tcp"]),
        ];
        for (text, wanted) in table {
            assert_eq!(shown(text).unwrap(), wanted, "{text}");
        }
        let bad = [
            ("8080:", "No port specified: 8080:<empty>"),
            ("x", "Invalid containerPort: x"),
            ("80:0", "Invalid containerPort: 0"),
            ("70000:80", "Invalid hostPort: 70000"),
            ("80:81-80", "Invalid containerPort: 81-80"),
            ("80-81:90-92", "Invalid ranges specified for container and host Ports: 90-92 and 80-81"),
            ("80/icmp", "invalid proto: icmp"),
            ("nohost:80:80", "Invalid ip address: nohost"),
        ];
        for (text, why) in bad {
            assert_eq!(shown(text).unwrap_err(), why, "{text}");
        }
    }
}
