//! Lines of several logs put in the order of their times.
//!
//! Each log is in order by itself, so the earliest of the logs' first lines comes next, once every log has one. A log that
//! is followed may be silent for long: then the others wait for it only a moment.
use api::backend::LogLine;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// One log.
pub(super) type Source = mpsc::Receiver<LogLine>;

/// Several logs that are read together. More may come while they are read.
pub(super) struct Order {
    coming: mpsc::Receiver<Source>,
    all_came: bool,
    sources: Vec<Open>,
    patience: Duration,
}

struct Open {
    source: Source,
    first: VecDeque<LogLine>,
    /// Since when the others wait for it.
    awaited: Option<Instant>,
}

impl Order {
    /// Of logs that come; nobody waits longer than `patience` for the next line of a silent one.
    pub(super) fn new(coming: mpsc::Receiver<Source>, patience: Duration) -> Self {
        Self { coming, all_came: false, sources: Vec::new(), patience }
    }

    /// The next line; `None` when all logs have ended and no more come.
    pub(super) async fn next(&mut self) -> Option<LogLine> {
        loop {
            self.listen();
            if self.all_came && self.sources.is_empty() {
                return None;
            }
            let now = Instant::now();
            let earliest = self.sources.iter().enumerate().filter_map(|(i, s)| Some((s.first.front()?.time, i))).min();
            let silent = self.sources.iter_mut().filter(|s| s.first.is_empty());
            let until = silent.map(|s| *s.awaited.get_or_insert(now) + self.patience).max();
            match (earliest, until) {
                (Some((_, i)), None) => return self.sources[i].first.pop_front(),
                (Some((_, i)), Some(until)) => {
                    if until <= now || tokio::time::timeout_at(until, self.something()).await.is_err() {
                        return self.sources[i].first.pop_front();
                    }
                }
                (None, _) => {
                    // Nobody is kept waiting, so nobody is late.
                    self.sources.iter_mut().for_each(|s| s.awaited = None);
                    self.something().await;
                }
            }
        }
    }

    /// Takes what is there without waiting.
    fn listen(&mut self) {
        loop {
            match self.coming.try_recv() {
                Ok(source) => self.sources.push(Open { source, first: VecDeque::new(), awaited: None }),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.all_came = true;
                    break;
                }
            }
        }
        self.sources.retain_mut(|s| {
            if !s.first.is_empty() {
                return true;
            }
            match s.source.try_recv() {
                Ok(line) => {
                    s.first.push_back(line);
                    s.awaited = None;
                    true
                }
                Err(mpsc::error::TryRecvError::Empty) => true,
                Err(mpsc::error::TryRecvError::Disconnected) => false,
            }
        });
    }

    /// Waits for a line of a silent log, the end of one, or one more.
    async fn something(&mut self) {
        poll_fn(|cx| {
            let mut happened = false;
            if !self.all_came {
                match self.coming.poll_recv(cx) {
                    Poll::Ready(Some(source)) => {
                        self.sources.push(Open { source, first: VecDeque::new(), awaited: None });
                        happened = true;
                    }
                    Poll::Ready(None) => (self.all_came, happened) = (true, true),
                    Poll::Pending => {}
                }
            }
            self.sources.retain_mut(|s| {
                if !s.first.is_empty() {
                    return true;
                }
                match s.source.poll_recv(cx) {
                    Poll::Ready(Some(line)) => {
                        s.first.push_back(line);
                        (s.awaited, happened) = (None, true);
                        true
                    }
                    Poll::Ready(None) => {
                        happened = true;
                        false
                    }
                    Poll::Pending => true,
                }
            });
            if happened { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::backend::StdStream;
    use model::Timestamp;

    fn line(time: i64) -> LogLine {
        LogLine { stream: StdStream::Stdout, time: Timestamp(time), line: time.to_string().into(), attrs: [].into() }
    }

    fn source(times: &[i64]) -> (mpsc::Sender<LogLine>, Source) {
        let (tx, rx) = mpsc::channel(100);
        times.iter().for_each(|t| tx.try_send(line(*t)).unwrap());
        (tx, rx)
    }

    async fn all(order: &mut Order) -> Vec<i64> {
        let mut times = Vec::new();
        while let Some(l) = order.next().await {
            times.push(l.time.0);
        }
        times
    }

    #[tokio::test]
    async fn whole_logs_are_merged_by_time_however_they_come() {
        let (tx, coming) = mpsc::channel(10);
        let (a, late) = source(&[]);
        tx.try_send(late).unwrap();
        for times in [&[2, 5, 9][..], &[1, 6, 7], &[]] {
            tx.try_send(source(times).1).unwrap();
        }
        drop(tx);
        tokio::spawn(async move {
            for t in [3, 4, 8] {
                tokio::time::sleep(Duration::from_millis(30)).await;
                a.send(line(t)).await.unwrap();
            }
        });
        assert_eq!(all(&mut Order::new(coming, Duration::from_secs(60))).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[tokio::test]
    async fn a_silent_log_is_not_waited_for_longer_than_patience() {
        let (tx, coming) = mpsc::channel(10);
        let (silent, s) = source(&[]);
        tx.try_send(s).unwrap();
        let (talking, t) = source(&[1, 2]);
        tx.try_send(t).unwrap();
        let mut order = Order::new(coming, Duration::from_millis(100));
        let began = Instant::now();
        assert_eq!(order.next().await.unwrap().time, Timestamp(1));
        assert_eq!(order.next().await.unwrap().time, Timestamp(2));
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        silent.try_send(line(0)).unwrap();
        assert_eq!(order.next().await.unwrap().time, Timestamp(0), "late, but not lost");
        tx.try_send(source(&[4]).1).unwrap();
        assert_eq!(order.next().await.unwrap().time, Timestamp(4), "a log may come later");
        drop((silent, talking, tx));
        assert!(order.next().await.is_none());
    }
}
