//! How a machine becomes a member: fetch the root, check it against the token, ask for a certificate.
use super::ChannelError;
use super::link::Link;
use crate::ca::{Credentials, JoinToken, crypto, tls};
use model::Availability;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use wire::agent::{JoinAnswer, JoinRequest};

/// What a machine brings.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// Managers to ask, in order.
    pub managers: Vec<SocketAddr>,
    /// `SWMTKN-1-…`.
    pub token: String,
    /// Its hostname.
    pub hostname: String,
    /// Its tunnel endpoint, if not the address it calls from.
    pub data_path_addr: Option<IpAddr>,
    /// Where it would listen as a manager.
    pub advertise_addr: Option<SocketAddr>,
    /// Wished availability.
    pub availability: Availability,
    /// Where its certificates go.
    pub dir: PathBuf,
}

/// Joins: the credentials are then in `dir`, and the answer says what the node has become and whom to talk to.
///
/// # Errors
/// See [`ChannelError`]; nothing is kept then.
pub async fn join(options: &JoinOptions) -> Result<(Credentials, JoinAnswer), ChannelError> {
    let token: JoinToken = options.token.parse()?;
    let mut last = ChannelError::Unreachable("no manager is known".into());
    let mut candidates: VecDeque<SocketAddr> = options.managers.iter().copied().collect();
    let mut tried = Vec::new();
    while let Some(addr) = candidates.pop_front() {
        if tried.contains(&addr) {
            continue;
        }
        tried.push(addr);
        match join_at(addr, &token, options).await {
            Ok(done) => return Ok(done),
            // A clear no is not made better by asking another manager.
            Err(e @ ChannelError::Token(_)) => return Err(e),
            Err(e @ ChannelError::Elsewhere(..)) => {
                if let ChannelError::Elsewhere(Some(leader), _) = &e {
                    candidates.push_front(*leader);
                }
                last = e;
            }
            Err(ChannelError::Refused(r)) if r.kind != wire::RefusalKind::Unavailable => return Err(r.into()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn join_at(
    addr: SocketAddr,
    token: &JoinToken,
    options: &JoinOptions,
) -> Result<(Credentials, JoinAnswer), ChannelError> {
    let root: String = Link::connect(addr, tls::blind_config()?).await?.get("/shoal/v1/root").await?;
    token.check_root(&root)?;
    let link = Link::connect(addr, tls::joining_config(&root)?).await?;
    let (key, csr) = crypto::key_and_request()?;
    let request = JoinRequest {
        token: options.token.trim().to_owned(),
        csr,
        hostname: options.hostname.clone(),
        data_path_addr: options.data_path_addr,
        advertise_addr: options.advertise_addr,
        availability: options.availability,
    };
    let mut answer: JoinAnswer = link.call("/shoal/v1/join", &request).await?;
    // The address that worked is known to work from here; the advertised ones may not.
    if !answer.managers.iter().any(|m| m.addr == addr)
        && let Some(first) = answer.managers.first().cloned()
    {
        answer.managers.push(wire::agent::ManagerPeer { addr, ..first });
    }
    // While the root is changed, the answer has both.
    let credentials = Credentials::create(&options.dir, &answer.cert, &key, &answer.root)?;
    Ok((credentials, answer))
}
