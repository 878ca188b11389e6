//! How long things take and how much memory a shim needs; generous limits, numbers on stderr.
use crate::lab::*;
use runtime::ExecSpec;
use std::time::Instant;

fn median(mut times: Vec<u128>) -> u128 {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
async fn create_start_exec_and_memory() {
    let lab = Lab::new();
    let (mut create, mut whole, mut exec) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10 {
        let launch = lab.launch("true");
        let begin = Instant::now();
        lab.runtime.create(&launch).await.unwrap();
        lab.runtime.start(&launch.id).await.unwrap();
        create.push(begin.elapsed().as_micros());
        lab.wait(&launch.id).await;
        lab.runtime.delete(&launch.id).await.unwrap();
        whole.push(begin.elapsed().as_micros());
    }
    let launch = lab.launch("sleep 1000");
    lab.up(&launch).await;
    for _ in 0..10 {
        let begin = Instant::now();
        let spec = ExecSpec { args: vec!["true".to_owned()], ..ExecSpec::default() };
        collect(lab.runtime.exec(&launch.id, spec).await.unwrap().io).await;
        exec.push(begin.elapsed().as_micros());
    }
    let (shim, _) = shims(&lab.dir)[0].clone();
    let smaps = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
    let kib = |key: &str| -> u64 {
        smaps
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap()
            .trim()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let private = kib("Private_Clean:") + kib("Private_Dirty:");
    eprintln!(
        "create+start {} us, create+start+wait+delete {} us, exec {} us, shim private {private} KiB (dirty {}), rss {} KiB",
        median(create.clone()),
        median(whole),
        median(exec),
        kib("Private_Dirty:"),
        kib("Rss:")
    );
    // A machine that is emulated says how many times slower it is.
    let patience = std::env::var("SHOAL_PATIENCE").ok().and_then(|p| p.parse().ok()).unwrap_or(1);
    assert!(median(create) < 500_000 * patience);
    lab.runtime.delete(&launch.id).await.unwrap();
}
