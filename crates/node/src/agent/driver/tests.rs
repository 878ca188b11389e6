use super::super::executor::Started;
use super::*;
use async_trait::async_trait;
use model::{EndpointSpec, Id, Meta, TaskSpec};
use std::sync::atomic::{AtomicUsize, Ordering};
use wire::Refusal;

/// A machine of words: records what was asked, ends when told.
struct Paper {
    said: parking_lot::Mutex<Vec<&'static str>>,
    /// Whether as a leased task, each time.
    watched: parking_lot::Mutex<Vec<bool>>,
    end: watch::Sender<Option<Ended>>,
    found: Option<Found>,
    connections: AtomicUsize,
    refuse_start: bool,
}

impl Paper {
    fn new() -> Self {
        Self {
            said: Default::default(),
            watched: Default::default(),
            end: watch::Sender::new(None),
            found: None,
            connections: AtomicUsize::new(0),
            refuse_start: false,
        }
    }
    fn say(&self, word: &'static str) {
        self.said.lock().push(word);
    }
}

#[async_trait]
impl Executor for Paper {
    async fn find(&self, _: &Task) -> Option<Found> {
        self.found.clone()
    }
    async fn prepare(&self, _: &Task, _: &Dependencies) -> Result<String, Refusal> {
        self.say("prepare");
        Ok("c".repeat(64))
    }
    async fn start(&self, _: &Task) -> Result<Started, Refusal> {
        self.say("start");
        if self.refuse_start {
            Err(Refusal::internal("no such file"))
        } else {
            Ok(Started { pid: 7, host_ports: vec![] })
        }
    }
    async fn healthy(&self, _: &Task) {}
    async fn ended(&self, _: &Task) -> Ended {
        let mut end = self.end.subscribe();
        end.wait_for(Option::is_some).await.unwrap().clone().unwrap()
    }
    async fn live_connections(&self, _: &Task) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
    async fn stop(&self, _: &Task) -> Result<(), Refusal> {
        self.say("stop");
        self.end.send_replace(Some(Ended { code: 143, ..Default::default() }));
        Ok(())
    }
    async fn kill(&self, _: &Task) -> Result<(), Refusal> {
        self.say("kill");
        self.end.send_replace(Some(Ended { code: 137, ..Default::default() }));
        Ok(())
    }
    async fn watch_over(&self, _: &Task, leased: bool) -> Result<(), Refusal> {
        self.watched.lock().push(leased);
        Ok(())
    }
    fn may_run(&self, _: Option<Duration>, _: Option<Duration>) {}
    async fn remove(&self, _: &Task) -> Result<(), Refusal> {
        self.say("remove");
        Ok(())
    }
}

fn task() -> Task {
    Task {
        id: TaskId::from_random([9; 17]),
        meta: Meta::default(),
        spec: TaskSpec::default(),
        spec_version: 1,
        service: None,
        service_name: "web".into(),
        service_labels: Default::default(),
        slot: 1,
        node: None,
        status: TaskStatus { state: TaskState::Assigned, ..Default::default() },
        desired: DesiredState::Running,
        networks: vec![],
        endpoint: EndpointSpec::default(),
        draining_since: None,
        job_iteration: None,
        leased: false,
        generic: Vec::new(),
    }
}

struct Stage {
    paper: Arc<Paper>,
    wish: watch::Sender<Wish>,
    applied: watch::Sender<u64>,
    fence: watch::Sender<Fence>,
    heard: watch::Sender<bool>,
    reports: mpsc::UnboundedReceiver<(TaskId, TaskStatus)>,
    driver: tokio::task::JoinHandle<()>,
}

fn stage(paper: Paper, first: Task) -> Stage {
    let stage = stage_unheard(paper, first);
    stage.heard.send_replace(true);
    stage
}

fn stage_unheard(paper: Paper, first: Task) -> Stage {
    let paper = Arc::new(paper);
    let assignment = Assignment { task: first, stop_after: None };
    let (wish, changes) = watch::channel(Some(assignment.clone()));
    let applied = watch::Sender::new(0);
    let fence = watch::Sender::new(Fence::Open);
    let heard = watch::Sender::new(false);
    let (tx, reports) = mpsc::unbounded_channel();
    let around = Surroundings {
        executor: paper.clone(),
        reports: tx,
        all_applied: applied.subscribe(),
        dependencies: watch::Sender::new(Arc::default()).subscribe(),
        fence: fence.subscribe(),
        heard: heard.subscribe(),
        now: || Timestamp(1),
    };
    Stage { paper, wish, applied, fence, heard, reports, driver: tokio::spawn(drive(assignment, changes, around)) }
}

impl Stage {
    async fn until(&mut self, state: TaskState) -> TaskStatus {
        loop {
            let (_, status) =
                timeout(Duration::from_secs(20), self.reports.recv()).await.expect("a report").expect("open");
            if status.state == state {
                return status;
            }
            assert!(status.state < state, "{:?} came before {state:?}", status.state);
        }
    }
    fn want(&self, desired: DesiredState, stop_after: Option<u64>) {
        self.wish.send_replace(Some(Assignment { task: Task { desired, ..task() }, stop_after }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_is_drained_behind_the_barrier_and_then_stopped() {
    let mut s = stage(Paper::new(), task());
    assert!(s.until(TaskState::Running).await.ready);
    s.paper.connections.store(1, Ordering::SeqCst);
    s.want(DesiredState::Shutdown, Some(40));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*s.paper.said.lock(), ["prepare", "start"], "stopped before every node had applied the drain");
    s.applied.send_replace(40);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*s.paper.said.lock(), ["prepare", "start"], "stopped with a live connection");
    s.paper.connections.store(0, Ordering::SeqCst);
    assert_eq!(s.until(TaskState::Shutdown).await.message, "shutdown");
    s.wish.send_replace(None);
    s.driver.await.unwrap();
    assert_eq!(*s.paper.said.lock(), ["prepare", "start", "stop", "remove"]);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_manager_delays_a_stop_but_does_not_prevent_it() {
    let mut s = stage(Paper::new(), task());
    s.until(TaskState::Running).await;
    s.want(DesiredState::Shutdown, Some(u64::MAX));
    s.until(TaskState::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn exits_are_told_apart_and_a_ready_task_waits_for_its_word() {
    let mut s = stage(Paper::new(), Task { desired: DesiredState::Ready, ..task() });
    s.until(TaskState::Ready).await;
    assert_eq!(*s.paper.said.lock(), ["prepare"]);
    s.want(DesiredState::Running, None);
    s.until(TaskState::Running).await;
    s.paper.end.send_replace(Some(Ended { code: 3, ..Default::default() }));
    assert_eq!(s.until(TaskState::Failed).await.err, "task: non-zero exit (3)");

    let mut s = stage(Paper { refuse_start: true, ..Paper::new() }, task());
    assert_eq!(s.until(TaskState::Failed).await.err, "starting container failed: no such file");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ran_on_while_the_daemon_was_away_is_taken_up_again() {
    let found = Found::Running { container: "c".repeat(64), pid: 7 };
    let mut s = stage(Paper { found: Some(found), ..Paper::new() }, task());
    s.until(TaskState::Running).await;
    s.paper.end.send_replace(Some(Ended::default()));
    assert_eq!(s.until(TaskState::Complete).await.message, "finished");
    assert!(s.paper.said.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_leased_task_is_killed_when_the_lease_is_over_and_others_run_on() {
    let mut s = stage(Paper::new(), Task { leased: true, ..task() });
    s.until(TaskState::Running).await;
    s.fence.send_replace(Fence::Leased);
    let end = s.until(TaskState::Shutdown).await;
    assert!(end.err.contains("cut off from the managers"), "{end:?}");
    assert_eq!(*s.paper.said.lock(), ["prepare", "start", "kill"], "no grace: its successor is about to start");

    let mut s = stage(Paper::new(), task());
    s.until(TaskState::Running).await;
    s.fence.send_replace(Fence::Leased);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*s.paper.said.lock(), ["prepare", "start"]);
    s.fence.send_replace(Fence::All);
    s.until(TaskState::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_leased_starts_while_the_lease_is_over() {
    let mut s = stage(Paper::new(), Task { leased: true, desired: DesiredState::Ready, ..task() });
    s.until(TaskState::Ready).await;
    s.fence.send_replace(Fence::Leased);
    s.wish.send_replace(Some(Assignment { task: Task { leased: true, ..task() }, stop_after: None }));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*s.paper.said.lock(), ["prepare"]);
    s.fence.send_replace(Fence::Open);
    s.until(TaskState::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_grace_period_does_not_outlast_the_lease() {
    let mut s = stage(Paper::new(), Task { leased: true, ..task() });
    s.until(TaskState::Running).await;
    // The barrier is never reached, so the task is being drained when the node is cut off.
    s.wish.send_replace(Some(Assignment {
        task: Task { leased: true, desired: DesiredState::Shutdown, ..task() },
        stop_after: Some(u64::MAX),
    }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    s.fence.send_replace(Fence::Leased);
    s.until(TaskState::Shutdown).await;
    assert_eq!(*s.paper.said.lock(), ["prepare", "start", "kill"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_before_it_was_said_how_long_it_may_run() {
    let paper = Paper::new();
    let mut s = stage(paper, task());
    s.until(TaskState::Running).await;
    assert_eq!(*s.paper.watched.lock(), [false, false], "before it starts, and while it runs");
    s.wish.send_replace(Some(Assignment { task: Task { leased: true, ..task() }, stop_after: None }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    s.want(DesiredState::Running, None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*s.paper.watched.lock(), [false, false, true, false], "whenever the service changes its kind");

    let mut unheard = stage_unheard(Paper::new(), task());
    unheard.until(TaskState::Ready).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*unheard.paper.said.lock(), ["prepare"]);
    unheard.heard.send_replace(true);
    unheard.until(TaskState::Running).await;
}
