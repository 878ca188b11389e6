use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("shoal-logs-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
    fn config(&self, max_size_bytes: u64, max_files: u32) -> LogConfig {
        LogConfig { path: self.0.join("x.log"), max_size_bytes, max_files, ..LogConfig::default() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn texts(mut lines: mpsc::Receiver<io::Result<LogLine>>) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(line) = lines.recv().await {
        texts.push(String::from_utf8(line.unwrap().line.to_vec()).unwrap().trim_end().to_owned());
    }
    texts
}

#[tokio::test]
async fn all_and_tail_across_files() {
    let scratch = Scratch::new("tail");
    let config = scratch.config(400, 5);
    let mut log = LogWriter::open(&config).unwrap().unwrap();
    for number in 0..20 {
        log.write(StdStream::Stdout, format!("{number}\n").as_bytes()).unwrap();
    }
    assert!(files(&config).len() > 2);
    let all = texts(read(&config, LogQuery::default(), std::future::ready(()))).await;
    assert_eq!(all, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    for tail in [0, 1, 5, 19, 20, 50] {
        let query = LogQuery { tail: Some(tail), ..LogQuery::default() };
        assert_eq!(texts(read(&config, query, std::future::ready(()))).await, all[20 - tail.min(20)..], "{tail}");
    }
}

#[tokio::test]
async fn since_and_until() {
    let scratch = Scratch::new("since");
    let config = scratch.config(0, 1);
    let line = |second: i64| {
        format!("{{\"log\":\"{second}\\n\",\"stream\":\"stdout\",\"time\":\"{}Z\"}}\n", writer::calendar(second))
    };
    std::fs::write(&config.path, (10..20).map(line).collect::<String>()).unwrap();
    let at = |second: i64| Some(Timestamp(second * 1_000_000_000));
    let query = LogQuery { since: at(12), until: at(14), ..LogQuery::default() };
    assert_eq!(texts(read(&config, query, std::future::ready(()))).await, ["12", "13", "14"]);
}

#[tokio::test]
async fn following_through_rotations_loses_nothing() {
    let scratch = Scratch::new("follow");
    let config = scratch.config(2000, 4);
    let mut log = LogWriter::open(&config).unwrap().unwrap();
    log.write(StdStream::Stdout, b"0\n").unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut lines = read(&config, query, async move {
        let _ = ended.await;
    });
    for number in 0..200 {
        let line = lines.recv().await.unwrap().unwrap();
        assert_eq!(line.line, format!("{number}\n"));
        log.write(StdStream::Stdout, format!("{}\n", number + 1).as_bytes()).unwrap();
    }
    end.send(()).unwrap();
    assert_eq!(lines.recv().await.unwrap().unwrap().line, "200\n");
    assert!(lines.recv().await.is_none());
}

#[tokio::test]
async fn compressed_files_are_read_as_if_they_were_not() {
    let scratch = Scratch::new("packed");
    let config = LogConfig { compress: true, ..scratch.config(400, 5) };
    let mut log = LogWriter::open(&config).unwrap().unwrap();
    for number in 0..20 {
        log.write(StdStream::Stdout, format!("{number}\n").as_bytes()).unwrap();
    }
    drop(log);
    assert!(files(&config).iter().filter(|f| f.extension().is_some_and(|e| e == "gz")).count() > 2);
    let all = texts(read(&config, LogQuery::default(), std::future::ready(()))).await;
    assert_eq!(all, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    for tail in [0, 1, 5, 19, 20, 50] {
        let query = LogQuery { tail: Some(tail), ..LogQuery::default() };
        assert_eq!(texts(read(&config, query, std::future::ready(()))).await, all[20 - tail.min(20)..], "{tail}");
    }
    let left = std::fs::read_dir(&scratch.0).unwrap().count();
    assert_eq!(left, files(&config).len(), "reading leaves nothing behind");
}

/// Whoever follows slowly finds files moved aside several times, and compressed meanwhile.
#[tokio::test]
async fn a_slow_follower_catches_up_through_rotations() {
    for compress in [false, true] {
        let scratch = Scratch::new(if compress { "slow-packed" } else { "slow" });
        let config = LogConfig { compress, ..scratch.config(2000, 1000) };
        let mut log = LogWriter::open(&config).unwrap().unwrap();
        log.write(StdStream::Stdout, b"0\n").unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut lines = read(&config, query, async move {
            let _ = ended.await;
        });
        assert_eq!(lines.recv().await.unwrap().unwrap().line, "0\n");
        for number in 1..5000 {
            log.write(StdStream::Stdout, format!("{number}\n").as_bytes()).unwrap();
        }
        end.send(()).unwrap();
        let rest = texts(lines).await;
        assert_eq!(rest, (1..5000).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}
