//! Logs of real containers.
use crate::lab::*;
use runtime::logs::{LogQuery, read};
use runtime::*;

#[tokio::test]
async fn rotation_and_following() {
    let lab = Lab::new();
    let mut launch = lab.launch("n=0; while [ $n -lt 500 ]; do echo line $n; n=$((n+1)); done; printf tail");
    launch.log.max_size_bytes = 20_000;
    launch.log.max_files = 10;
    lab.runtime.create(&launch).await.unwrap();
    let mut ended = lab.runtime.watch(&launch.id).unwrap();
    let mut lines = read(&launch.log, LogQuery { follow: true, ..LogQuery::default() }, async move {
        ended.wait().await;
    });
    lab.runtime.start(&launch.id).await.unwrap();
    let mut got = Vec::new();
    while let Some(line) = lines.recv().await {
        got.push(String::from_utf8(line.unwrap().line.to_vec()).unwrap());
    }
    let want: Vec<String> = (0..500).map(|n| format!("line {n}\n")).chain(["tail".to_owned()]).collect();
    assert_eq!(got, want);
    assert!(logs::files(&launch.log).len() > 1);
    lab.wait(&launch.id).await;
    lab.runtime.delete(&launch.id).await.unwrap();
}

#[tokio::test]
async fn no_driver_no_file() {
    let lab = Lab::new();
    let mut launch = lab.launch("echo x");
    launch.log.driver = LogDriver::None;
    assert_eq!(lab.run(&launch).await.0, "x\n");
    assert!(!launch.log.path.exists());
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_lose_others_anything() {
    let lab = Lab::new();
    let launch = lab.launch("head -c 4000000 /dev/zero | tr '\\0' 'y'");
    lab.runtime.create(&launch).await.unwrap();
    let slow = lab.runtime.attach(&launch.id).await.unwrap();
    let quick = lab.runtime.attach(&launch.id).await.unwrap();
    lab.runtime.start(&launch.id).await.unwrap();
    assert_eq!(collect(quick).await.len(), 4_000_000);
    drop(slow);
    assert_eq!(lab.wait(&launch.id).await.code, 0);
    lab.runtime.delete(&launch.id).await.unwrap();
}

/// The process that writes the log of a container.
fn log_writer(id: &str) -> i32 {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|p| p.file_name().to_str()?.parse::<i32>().ok());
    let is_it = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("shim-log") && line.contains(id)
    };
    pids.into_iter().find(is_it).expect("the writer")
}

#[tokio::test]
async fn a_container_does_not_wait_for_a_log_that_is_slow() {
    let lab = Lab::new();
    let count = "echo begin; while [ ! -e /data/go ]; do sleep 0.01; done; n=0; while [ $n -lt 50000 ]; do echo line $n; n=$((n+1)); done; touch /data/done";
    let mut launch = lab.launch(count);
    launch.log.buffer_bytes = 64 << 10;
    lab.up(&launch).await;
    let text = || std::fs::read_to_string(&launch.log.path).unwrap_or_default();
    until(|| text().contains("begin")).await;
    let writer = nix::unistd::Pid::from_raw(log_writer(&launch.id));
    nix::sys::signal::kill(writer, nix::sys::signal::Signal::SIGSTOP).unwrap();
    std::fs::write(lab.dir.join("root/data/go"), "").unwrap();
    until(|| lab.dir.join("root/data/done").exists()).await;
    nix::sys::signal::kill(writer, nix::sys::signal::Signal::SIGCONT).unwrap();
    assert_eq!(lab.wait(&launch.id).await.code, 0);

    // What found room is there, whole and in order, and was there when the end was told.
    let text = text();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let numbers = lines[1..].iter().map(|l| l["log"].as_str().unwrap().strip_prefix("line ").unwrap().trim_end());
    let numbers: Vec<u32> = numbers.map(|n| n.parse().unwrap()).collect();
    assert!(numbers.len() > 1000 && numbers.len() < 50_000, "{} lines found room", numbers.len());
    assert!(numbers.is_sorted_by(|a, b| a < b));
    lab.runtime.delete(&launch.id).await.unwrap();
}
