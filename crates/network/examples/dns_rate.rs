//! How many questions per second one sandbox's resolver answers from its table, and how long one takes; beside an
//! echo on the same kind of socket, which is what the kernel alone costs.
use kernel::netns::NetNs;
use network::dns::lookup::Scope;
use network::dns::{DnsServer, LocalEndpoint, LocalNames, NameTable};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PORT: u16 = 10_053;
const CLIENTS: usize = 2;
const IN_FLIGHT: usize = 16;
const LASTING: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = DnsServer::new(PORT, runtime.handle().clone());
    let endpoints =
        (0..250u8).map(|n| LocalEndpoint { names: vec![format!("name{n}")], addresses: vec![[10, 0, 1, n].into()] });
    let network = LocalNames { id: "net".into(), name: "net".into(), subnets: vec![], endpoints: endpoints.collect() };
    server.publish(Arc::new(NameTable::build(&Default::default(), &Default::default(), &[network])));
    let ns = NetNs::anonymous()?;
    let scope = Scope { networks: vec!["net".into()], ..Scope::default() };
    server.attach("rate", &ns, scope)?;
    let echo = ns.run(|| UdpSocket::bind("127.0.0.1:0"))??;
    let echo_at = echo.local_addr()?;
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            if echo.send_to(&buffer[..length], from).is_err() {
                return;
            }
        }
    });
    let dns_at: SocketAddr = format!("127.0.0.11:{PORT}").parse()?;
    let (dns, echo) = (rate(&ns, dns_at)?, rate(&ns, echo_at)?);
    println!(
        "names: {dns:.0} questions/s answered ({CLIENTS} clients, {IN_FLIGHT} in flight each); bare echo {echo:.0}/s; ratio {:.2}",
        dns / echo
    );
    Ok(())
}

fn rate(ns: &NetNs, to: SocketAddr) -> Result<f64, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let socket = ns.run(|| UdpSocket::bind("127.0.0.1:0"))??;
            socket.connect(to)?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            Ok(std::thread::spawn(move || ask(&socket, begun)))
        })
        .collect::<std::io::Result<_>>()?;
    let total: usize = clients.into_iter().map(|c| c.join().unwrap_or(0)).sum();
    Ok(total as f64 / begun.elapsed().as_secs_f64())
}

fn ask(socket: &UdpSocket, begun: Instant) -> usize {
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 6];
    question.extend_from_slice(b"name77\0\0\x01\0\x01");
    let (mut answered, mut buffer) = (0, [0; 512]);
    for _ in 0..IN_FLIGHT {
        let _ = socket.send(&question);
    }
    while begun.elapsed() < LASTING {
        if socket.recv(&mut buffer).is_ok() {
            answered += 1;
        }
        let _ = socket.send(&question);
    }
    answered
}
