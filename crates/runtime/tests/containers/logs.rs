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
