//! The simulated swarm.
//!
//! ```text
//!  user ops ─► tables ◄─ planner (leader; may be replaced, may lose a transaction)
//!                │ assignments + directory deltas (lost while cut off)      ▲ statuses (some lost, told again)
//!                ▼                                                          │
//!              agent ×n: containers with real addresses; kills leased ones when its lease has run out
//! ```
use crate::fixture::*;
use model::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

pub const TICK: Duration = Duration::from_millis(100);
/// One beat per so many ticks.
const BEAT_TICKS: u64 = (lease::BEAT.as_millis() / TICK.as_millis()) as u64;

/// How likely mishaps are, in percent per tick (or per message).
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub crash: u64,
    pub cut_off: u64,
    pub lost_status: u64,
    pub task_exit: u64,
    /// A beat or its confirmation (its session breaks with it).
    pub lost_beat: u64,
    /// What a node is told (work and directory): its session breaks with it, and the next one tells it again.
    pub lost_order: u64,
    pub new_leader: u64,
    /// Whether leaders' clocks differ by minutes.
    pub clocks_differ: bool,
    /// The leader's clock is set by minutes while it leads.
    pub clock_set: u64,
    pub lost_transaction: u64,
}

impl Faults {
    pub const NONE: Self = Self {
        crash: 0,
        cut_off: 0,
        lost_status: 0,
        task_exit: 0,
        lost_beat: 0,
        lost_order: 0,
        new_leader: 0,
        clocks_differ: false,
        clock_set: 0,
        lost_transaction: 0,
    };
    pub const SOME: Self = Self {
        crash: 1,
        cut_off: 1,
        lost_status: 20,
        task_exit: 1,
        lost_beat: 5,
        lost_order: 5,
        new_leader: 2,
        clocks_differ: true,
        clock_set: 1,
        lost_transaction: 5,
    };
}

/// A container on a machine.
#[derive(Clone)]
pub struct Container {
    pub task: Task,
    pub state: TaskState,
    next_at: Timestamp,
}

/// A machine.
pub struct Agent {
    pub containers: BTreeMap<TaskId, Container>,
    pub directory: Directory,
    /// Until when (in the world's time) nothing reaches it, if it is cut off.
    pub cut_off_until: Option<Duration>,
    /// Until when it is off, if it is.
    pub off_until: Option<Duration>,
    pub lease: lease::Lease,
    /// When the leader heard it last, in the world's time. A new leader gives everybody some time.
    heard: Duration,
}

/// Leaders' clocks are at most so far from the truth.
const CLOCKS_APART: Duration = Duration::from_secs(600);

/// A new leader waits so much longer for nodes that were there.
const TAKEOVER: Duration = Duration::from_secs(1);

pub struct World {
    pub swarm: Swarm,
    /// The world's own time; clocks are something else.
    pub elapsed: Duration,
    /// What the leader's clock would show when the world began.
    clock: Timestamp,
    /// What is made of it.
    time: SwarmTime,
    pub agents: BTreeMap<NodeId, Agent>,
    pub faults: Faults,
    /// Shortest and longest time of an agent's step, in ticks.
    pub pace: (u64, u64),
    /// Services whose updates start the new task before the old one stops: there two at a time are wished.
    overlapping: BTreeSet<ServiceId>,
    seen: BTreeMap<TaskId, TaskState>,
}

impl World {
    pub fn new(seed: u64, nodes: usize, faults: Faults) -> Self {
        let swarm = Swarm::seeded(nodes, seed);
        let agent = |n: &std::sync::Arc<Node>| {
            let agent = Agent {
                containers: BTreeMap::new(),
                directory: Directory::default(),
                cut_off_until: None,
                off_until: None,
                lease: lease::Lease::begin(Duration::ZERO),
                heard: Duration::ZERO,
            };
            (n.id.clone(), agent)
        };
        let agents = swarm.tables.nodes().map(agent).collect();
        Self {
            clock: swarm.now,
            time: SwarmTime::default(),
            swarm,
            elapsed: Duration::ZERO,
            agents,
            faults,
            pace: (0, 10),
            overlapping: BTreeSet::new(),
            seen: BTreeMap::new(),
        }
    }

    pub fn run(&mut self, d: Duration) {
        for _ in 0..d.as_millis() / TICK.as_millis() {
            self.step();
        }
    }

    /// Ends all mishaps and lets the swarm come to rest.
    pub fn heal(&mut self) {
        self.faults = Faults::NONE;
        self.all_active();
        for agent in self.agents.values_mut() {
            agent.cut_off_until = None;
            agent.off_until = None;
        }
        self.run(Duration::from_secs(120));
    }

    pub fn step(&mut self) {
        self.elapsed += TICK;
        self.swarm.now = self.time.now(self.clock.after(self.elapsed), self.elapsed);
        self.swarm.steady = self.elapsed;
        self.mishaps();
        self.beats();
        self.lead();
        let ids: Vec<_> = self.agents.keys().cloned().collect();
        for id in ids {
            self.work(&id);
        }
        self.lead();
        self.check_states();
        self.check_addresses();
        self.check_leases();
    }

    fn mishaps(&mut self) {
        let now = self.elapsed;
        let faults = self.faults;
        for agent in self.agents.values_mut() {
            let dice = &mut self.swarm.dice;
            if agent.off_until.is_some_and(|t| t <= now) {
                agent.off_until = None;
                agent.lease = lease::Lease::begin(self.elapsed);
            }
            if agent.cut_off_until.is_some_and(|t| t <= now) {
                agent.cut_off_until = None;
            }
            if agent.off_until.is_none() && agent.cut_off_until.is_none() {
                let long = Duration::from_millis(dice.below(90_000));
                if dice.chance(faults.crash) && dice.chance(30) {
                    agent.off_until = Some(now + long);
                    for c in agent.containers.values_mut().filter(|c| !c.state.is_terminal()) {
                        // What ran has died with the machine; it will say so when it is back.
                        c.state = TaskState::Failed;
                    }
                } else if dice.chance(faults.cut_off) && dice.chance(50) {
                    agent.cut_off_until = Some(now + long);
                }
            }
        }
        if self.swarm.dice.chance(faults.new_leader) {
            self.new_leader();
        }
        if self.swarm.dice.chance(faults.clock_set) {
            self.set_clock_somehow();
        }
    }

    /// Another manager leads, with no memory and perhaps another clock.
    pub fn new_leader(&mut self) {
        self.swarm.memory = Default::default();
        if self.faults.clocks_differ {
            self.set_clock_somehow();
        }
        for agent in self.agents.values_mut() {
            agent.heard = self.elapsed + TAKEOVER;
        }
    }

    fn set_clock_somehow(&mut self) {
        let away = self.swarm.dice.below(2 * CLOCKS_APART.as_secs());
        self.set_clock(away as i64 - CLOCKS_APART.as_secs() as i64);
    }

    /// The leader's clock is so many seconds from the truth.
    pub fn set_clock(&mut self, seconds: i64) {
        self.clock = Timestamp(BEGINNING.0 + seconds * 1_000_000_000);
    }

    /// Beats go up and their confirmations come down; one that is lost takes its session with it.
    fn beats(&mut self) {
        if !(self.elapsed.as_millis() / TICK.as_millis()).is_multiple_of(u128::from(BEAT_TICKS)) {
            return;
        }
        for agent in self.agents.values_mut().filter(|a| a.off_until.is_none()) {
            let dice = &mut self.swarm.dice;
            agent.lease.beaten(self.elapsed);
            if agent.cut_off_until.is_some() || dice.chance(self.faults.lost_beat) {
                agent.lease.session(lease::BEAT);
                continue;
            }
            agent.heard = agent.heard.max(self.elapsed);
            if dice.chance(self.faults.lost_beat) {
                agent.lease.session(lease::BEAT);
            } else {
                agent.lease.confirmed();
            }
        }
    }

    /// The leader: liveness, then planning until nothing is left to do.
    fn lead(&mut self) {
        let now = self.swarm.now;
        for (id, agent) in &mut self.agents {
            let reachable = agent.off_until.is_none() && agent.cut_off_until.is_none();
            let Some(node) = self.swarm.tables.node(id) else { continue };
            let silent = self.elapsed.saturating_sub(agent.heard) >= lease::down_after(lease::BEAT);
            let state = if silent { NodeState::Down } else { NodeState::Ready };
            if node.status.state != state && (silent || reachable) {
                let mut next = (**node).clone();
                next.status.state = state;
                next.status.since = now;
                self.swarm.update(next);
            }
        }
        for _ in 0..1000 {
            let plan = self.swarm.plan();
            self.swarm.wake_at = plan.wake_at;
            if plan.actions.is_empty() {
                return;
            }
            assert!(plan.actions.len() < 2 * planner::ACTIONS_MAX, "a plan of {} actions", plan.actions.len());
            if self.swarm.dice.chance(self.faults.lost_transaction) {
                continue;
            }
            self.swarm.tables.apply(plan.actions, now).expect("no planned transaction is refused");
        }
        panic!("the planner does not come to rest");
    }

    /// One machine, one tick.
    fn work(&mut self, id: &NodeId) {
        let now = self.swarm.now;
        let Some(agent) = self.agents.get_mut(id) else { return };
        if agent.off_until.is_some() {
            return;
        }
        let connected = agent.cut_off_until.is_none();
        let lost = self.faults.lost_order > 0 && self.swarm.dice.chance(self.faults.lost_order);
        if connected && !lost {
            let assigned: BTreeSet<TaskId> = self
                .swarm
                .tables
                .tasks_on_node(id)
                .filter(|t| t.status.state >= TaskState::Assigned)
                .map(|t| t.id.clone())
                .collect();
            agent.containers.retain(|id, _| assigned.contains(id));
            for task in assigned.iter().filter_map(|t| self.swarm.tables.task(t)) {
                match agent.containers.get_mut(&task.id) {
                    Some(c) => {
                        c.task.desired = task.desired;
                        c.task.leased = task.leased;
                    }
                    // What has ended is not begun again.
                    None if task.status.state.is_terminal() => {}
                    None => {
                        let c = Container { task: (**task).clone(), state: task.status.state, next_at: now };
                        agent.containers.insert(task.id.clone(), c);
                    }
                }
            }
            let truth = Directory::for_node(&self.swarm.tables, id, &|_| true);
            if truth.revision != agent.directory.revision {
                let delta = agent.directory.delta(&truth);
                agent.directory.apply(delta).expect("a delta fits what the node has");
            }
        }
        let fence = agent.lease.look(self.elapsed);
        let (least, most) = self.pace;
        for c in agent.containers.values_mut() {
            let ticks = least + self.swarm.dice.below(most - least + 1);
            let fenced = fence.stops(c.task.leased);
            let next = next_of(c, fenced);
            if let Some(next) = next.filter(|_| c.next_at <= now || fenced) {
                c.state = next;
                c.next_at = now.after(TICK * ticks as u32);
            } else if c.state == TaskState::Running && self.swarm.dice.chance(self.faults.task_exit) {
                c.state = if self.swarm.dice.chance(50) { TaskState::Failed } else { TaskState::Complete };
            }
        }
        if !connected {
            return;
        }
        let told: Vec<(TaskId, TaskState)> = agent.containers.iter().map(|(t, c)| (t.clone(), c.state)).collect();
        for (task, state) in told {
            let stored = self.swarm.tables.task(&task).map(|t| t.status.state);
            let grows = stored.is_some_and(|s| s.may_become(state, task_state::Owner::Agent));
            if grows && !self.swarm.dice.chance(self.faults.lost_status) {
                self.swarm.report(&task, state);
            }
        }
    }

    /// No task moves backwards, whoever moves it.
    fn check_states(&mut self) {
        for task in self.swarm.tables.tasks() {
            let before = self.seen.insert(task.id.clone(), task.status.state).unwrap_or_default();
            assert!(task.status.state >= before, "{} went from {before:?} to {:?}", task.id, task.status.state);
        }
    }

    /// No two containers that exist anywhere have the same address on the same network.
    fn check_addresses(&self) {
        let mut held: BTreeMap<(NetworkTarget, IpAddr), &TaskId> = BTreeMap::new();
        for agent in self.agents.values().filter(|a| a.off_until.is_none()) {
            for (id, c) in agent.containers.iter().filter(|(_, c)| !c.state.is_terminal()) {
                for n in &c.task.networks {
                    for (addr, _) in &n.addresses {
                        if let Some(other) = held.insert((n.network.clone(), *addr), id) {
                            panic!("{addr} is held by {other} and {id}");
                        }
                    }
                }
            }
        }
    }

    /// Nothing that must not run twice does, anywhere.
    fn check_leases(&self) {
        let mut running: BTreeMap<(&ServiceId, u64), &TaskId> = BTreeMap::new();
        for agent in self.agents.values().filter(|a| a.off_until.is_none()) {
            for (id, c) in &agent.containers {
                let runs = matches!(c.state, TaskState::Starting | TaskState::Running);
                let Some(service) = c.task.service.as_ref().filter(|_| runs && c.task.leased) else { continue };
                if self.overlapping.contains(service) {
                    continue;
                }
                if let Some(other) = running.insert((service, c.task.slot), id) {
                    panic!("{other} and {id} of {} run at the same time", c.task.service_name);
                }
            }
        }
    }

    /// Tasks of the service that take requests.
    pub fn up(&self, service: &ServiceId) -> usize {
        let up = |t: &&std::sync::Arc<Task>| endpoint(t) == Some(EndpointState::Ready);
        self.swarm.tables.tasks_of_service(service).filter(up).count()
    }

    /// A few services with networks and ports, and a user who changes and removes them.
    pub fn user(&mut self, networks: &[NetworkId]) {
        let dice = &mut self.swarm.dice;
        let ids: Vec<_> = self.swarm.tables.services().map(|s| s.id.clone()).collect();
        match dice.below(12) {
            0..=2 if ids.len() < 6 => {
                let name = format!("s{}", dice.below(1_000_000));
                let mut spec = web(&name, dice.below(6));
                if dice.chance(20) {
                    spec.mode = ServiceMode::Global;
                } else if dice.chance(20) {
                    spec.labels.insert(service_labels::FENCE.into(), "always".into());
                }
                let chosen: Vec<_> = networks.iter().filter(|_| dice.chance(60)).collect();
                spec.task.networks = on(&chosen);
                if dice.chance(50) {
                    spec.endpoint = Some(publish(0, 80));
                }
                let mut update = UpdateConfig { parallelism: dice.below(4), ..Default::default() };
                if dice.chance(50) {
                    update.order = UpdateOrder::StartFirst;
                }
                update.failure_action = FailureAction::Continue;
                let overlaps = update.order == UpdateOrder::StartFirst && spec.labels.is_empty();
                spec.update = Some(update);
                let id = self.swarm.service(spec);
                if overlaps {
                    self.overlapping.insert(id);
                }
            }
            3..=5 if !ids.is_empty() => {
                let id = &ids[dice.below(ids.len() as u64) as usize];
                let replicas = dice.below(8);
                self.swarm.update_service(id, |s| {
                    if let ServiceMode::Replicated { replicas: n } = &mut s.mode {
                        *n = replicas;
                    }
                });
            }
            6..=8 if !ids.is_empty() => {
                let id = &ids[dice.below(ids.len() as u64) as usize];
                let tag = format!("web:{}", dice.below(1000));
                let publishes = dice.chance(30);
                self.swarm.update_service(id, |s| {
                    image(s, &tag);
                    if publishes {
                        s.endpoint = Some(publish(0, 81));
                    }
                });
            }
            9 if !ids.is_empty() => {
                let id = ids[dice.below(ids.len() as u64) as usize].clone();
                self.swarm.remove(id);
            }
            10 => {
                let n = dice.below(self.agents.len() as u64);
                let availability = match dice.below(3) {
                    0 => Availability::Pause,
                    _ => Availability::Drain,
                };
                self.swarm.change_node(&format!("n{n}"), |node| node.spec.availability = availability);
            }
            11 => self.all_active(),
            _ => {}
        }
    }

    fn all_active(&mut self) {
        for n in 0..self.agents.len() {
            self.swarm.change_node(&format!("n{n}"), |node| node.spec.availability = Availability::Active);
        }
    }

    /// Some minutes of a busy, unlucky swarm.
    pub fn turmoil(seed: u64) -> Self {
        let mut world = Self::new(seed, 4, Faults::SOME);
        let networks: Vec<_> = ["a", "b"].iter().map(|n| world.swarm.overlay(n)).collect();
        for _ in 0..40 {
            world.user(&networks);
            world.run(Duration::from_secs(2));
        }
        world
    }
}

fn endpoint(task: &Task) -> Option<EndpointState> {
    directory::endpoint_state(task)
}

fn next_of(c: &Container, fenced: bool) -> Option<TaskState> {
    use TaskState::*;
    if c.state.is_terminal() {
        return None;
    }
    if fenced || !c.task.desired.wants_to_run() {
        return Some(Shutdown);
    }
    match c.state {
        Assigned => Some(Accepted),
        Accepted => Some(Preparing),
        Preparing => Some(Ready),
        Ready if c.task.desired > DesiredState::Ready => Some(Starting),
        Starting => Some(Running),
        _ => None,
    }
}
