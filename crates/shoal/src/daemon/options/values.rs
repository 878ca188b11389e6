//! From a word of the command line to a value.
use super::settings::Listen;
use model::Subnet;
use std::net::{IpAddr, SocketAddr};
use wire::engine::container::Ulimit;

/// Where dockerd listens.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

type Parsed<T> = Result<T, String>;

/// `unix:///PATH`, `tcp://ADDRESS:PORT`, `fd://NAME`.
pub fn listen(text: &str, tls: bool) -> Parsed<Listen> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    match (scheme, rest) {
        ("unix", "") => Ok(Listen::Unix(DOCKER_SOCKET.into())),
        ("unix", path) if path.starts_with('/') => Ok(Listen::Unix(path.into())),
        ("fd", "" | "*") => Ok(Listen::Activated(None)),
        ("fd", name) => Ok(Listen::Activated(Some(name.to_owned()))),
        ("tcp", addr) if text.contains("://") || addr.contains([':', '.']) => {
            let addr = addr.trim_end_matches('/');
            let bare = addr.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']'));
            let host = if addr.is_empty() || addr.starts_with(':') { "127.0.0.1" } else { "" };
            let port = if bare { format!(":{}", if tls { TLS_PORT } else { PORT }) } else { String::new() };
            Ok(Listen::Tcp(format!("{host}{addr}{port}")))
        }
        _ => Err(format!("cannot listen on {text:?}: unix:///PATH, tcp://ADDRESS:PORT or fd:// is expected")),
    }
}

/// An address.
pub fn address(name: &str, text: &str) -> Parsed<IpAddr> {
    text.parse().map_err(|_| format!("--{name}: ParseAddr({text:?}): unable to parse IP"))
}

/// `ADDRESS:PORT`.
pub fn metrics(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| format!("--metrics-addr {text:?}: ADDRESS:PORT is expected"))
}

/// A whole number within limits.
pub fn number(text: &str, min: i32, max: i32) -> Parsed<i32> {
    let wrong = || format!("{text:?} is not a whole number from {min} to {max}");
    text.parse().ok().filter(|n| (min..=max).contains(n)).ok_or_else(wrong)
}

/// `ADDRESS/LENGTH`: the subnet, and the address in it.
pub fn cidr(name: &str, text: &str) -> Parsed<(Subnet, IpAddr)> {
    let wrong = || format!("--{name} {text:?}: ADDRESS/LENGTH is expected");
    let (addr, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    if prefix > if addr.is_ipv4() { 32 } else { 128 } {
        return Err(wrong());
    }
    Ok((Subnet::containing(addr, prefix), addr))
}

/// `base=CIDR,size=LENGTH`.
pub fn pool(text: &str) -> Parsed<(Subnet, u8)> {
    let wrong = || format!("address pool {text:?}: base=CIDR,size=LENGTH is expected");
    let (mut base, mut size) = (None, None);
    for part in text.split(',') {
        match part.trim().split_once('=') {
            Some(("base", v)) => base = Some(v.parse::<Subnet>().map_err(|_| wrong())?),
            Some(("size", v)) => size = Some(v.parse::<u8>().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    match (base, size) {
        (Some(b), Some(s)) if s >= b.prefix && s <= b.width() => Ok((b, s)),
        _ => Err(wrong()),
    }
}

/// `KEY=VALUE`.
pub fn pair(what: &str, text: &str) -> Parsed<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("bad attribute format: {text} ({what}: KEY=VALUE is expected)")),
    }
}

/// `DRIVER=KEY=VALUE`.
pub fn network_option(text: &str) -> Parsed<(String, String, String)> {
    let wrong = || format!("default network option {text:?}: DRIVER=KEY=VALUE is expected");
    let (driver, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (key, value) = rest.split_once('=').ok_or_else(wrong)?;
    Ok((driver.to_owned(), key.to_owned(), value.to_owned()))
}

/// `KEY=BOOL`; what it says when it changes nothing.
pub fn feature(text: &str) -> Parsed<Option<String>> {
    match text.split_once('=').unwrap_or((text, "true")) {
        (_, value) if !matches!(value, "true" | "false") => Err(format!("feature {text:?}: KEY=true or KEY=false")),
        ("buildkit" | "containerd-snapshotter", "false") => Ok(None),
        ("buildkit", _) => Ok(Some(format!("feature {text} changes nothing: images are built by the classic builder"))),
        ("containerd-snapshotter", _) => Err(format!("feature {text} is not supported: there is no containerd")),
        (name, _) => Err(format!("feature {name} is not known")),
    }
}

/// `NAME=SOFT[:HARD]`.
pub fn ulimit(text: &str) -> Parsed<Ulimit> {
    let wrong = || format!("invalid ulimit argument: {text}");
    let (name, limits) = text.split_once('=').filter(|(n, _)| !n.is_empty()).ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |t: &str| t.parse::<i64>().ok().filter(|n| *n >= -1).ok_or_else(wrong);
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard >= 0 && (soft > hard || soft < 0) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// `64m`, `1g`, `1024`.
pub fn bytes(text: &str) -> Parsed<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("invalid size: '{text}'")),
    };
    let number = digits.parse::<i64>().ok().filter(|n| *n >= 0).and_then(|n| n.checked_mul(1 << shift));
    number.ok_or_else(|| format!("invalid size: '{text}'"))
}

/// `KIND=VALUE`.
pub fn generic_resource(text: &str) -> Parsed<model::GenericResource> {
    let (kind, value) = pair("generic resource", text)?;
    Ok(match value.parse() {
        Ok(value) => model::GenericResource::Discrete { kind, value },
        Err(_) => model::GenericResource::Named { kind, value },
    })
}

/// A profile's text, or the word for one of the two that need none.
pub fn seccomp(text: &str) -> Parsed<String> {
    if matches!(text, "builtin" | "unconfined") {
        return Ok(text.to_owned());
    }
    let profile = std::fs::read_to_string(text).map_err(|e| format!("opening seccomp profile ({text}) failed: {e}"))?;
    match serde_json::from_str::<serde_json::Value>(&profile) {
        Ok(_) => Ok(profile),
        Err(e) => Err(format!("decoding seccomp profile ({text}) failed: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors() {
        let tcp = |t: &str| listen(t, false).unwrap();
        assert_eq!(tcp("tcp://0.0.0.0:4243"), Listen::Tcp("0.0.0.0:4243".into()));
        assert_eq!(tcp("tcp://"), Listen::Tcp("127.0.0.1:2375".into()));
        assert_eq!(tcp("tcp://:4243"), Listen::Tcp("127.0.0.1:4243".into()));
        assert_eq!(tcp("127.0.0.1:4243"), Listen::Tcp("127.0.0.1:4243".into()));
        assert_eq!(tcp("tcp://[::1]"), Listen::Tcp("[::1]:2375".into()));
        assert_eq!(tcp("fd://"), Listen::Activated(None));
        assert_eq!(tcp("fd://docker.socket"), Listen::Activated(Some("docker.socket".into())));
        assert_eq!(tcp("unix://"), Listen::Unix(DOCKER_SOCKET.into()));
        for bad in ["nowhere", "unix://relative", "npipe://x", "ssh://x"] {
            assert!(listen(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_become_values() {
        assert_eq!(bytes("64M").unwrap(), 64 << 20);
        assert!(bytes("much").is_err() && bytes("-1").is_err());
        assert_eq!(ulimit("nofile=10").unwrap().hard, 10);
        assert!(ulimit("nofile=20:10").is_err() && ulimit("=1").is_err());
        assert_eq!(pool("base=10.5.0.0/16,size=24").unwrap().1, 24);
        assert!(pool("base=10.5.0.0/16,size=8").is_err());
        assert_eq!(cidr("bip", "10.9.0.1/16").unwrap().1.to_string(), "10.9.0.1");
        assert!(cidr("bip", "10.9.0.1/64").is_err());
        assert!(feature("buildkit=true").unwrap().is_some() && feature("warp=true").is_err());
        assert_eq!(network_option("bridge=a.b=c").unwrap(), ("bridge".into(), "a.b".into(), "c".into()));
    }
}
