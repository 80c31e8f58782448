//! The writers: threads that each own a connection and commit what waits as a group. SQLite has one; PostgreSQL several, each with
//! spaces of its own, because it is farther away.
//!
//! Each push is loaded, decided and written in turn inside one database transaction; the answers leave after the commit.
//! Where the group fails, every push is tried alone, and only the culprit hears of it.

use crate::clock;
use crate::db::DbResult;
use crate::disk::{self, Trouble};
use crate::error::ApiError;
use crate::fault::Faults;
use crate::jobs::Waker;
use crate::live::Hub;
use crate::metrics::Metrics;
use crate::store::{Moment, NotDecided, Store, StoreError};
use driftline_core::reconcile::Plan;
use driftline_core::wire::Push;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Pushes that may wait; beyond it a sender is asked to come back.
const QUEUE_PUSHES: usize = 512;
/// Bytes of pushes that may wait.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Pushes of one commit: enough to share its sync to disk, few enough to answer soon.
const GROUP_PUSHES: usize = 64;
/// Bytes of one commit.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// How often a push is tried that another server gets in the way of.
const CONFLICTS: usize = 5;

pub struct Job {
    pub space: String,
    pub principal: String,
    pub push: Push,
    pub bytes: usize,
    reply: Option<oneshot::Sender<Reply>>,
}

type Reply = Result<(Push, Plan), ApiError>;

enum Message {
    Push(Job),
    /// What is not a push, in a transaction of its own.
    Work(Work),
    /// Takes no more, and what was queued before is written.
    End,
}

type Work = Box<dyn FnOnce(&mut Writer) + Send>;

/// The way to the writer. The thread ends after [`WriterHandle::finish`], or when the last handle is gone.
#[derive(Clone)]
pub struct WriterHandle {
    /// One for each thread.
    queues: Arc<[mpsc::Sender<Message>]>,
    waiting: Arc<AtomicUsize>,
}

impl WriterHandle {
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Has a push applied, and returns after the commit.
    pub async fn push(&self, space: String, principal: String, push: Push, bytes: usize) -> Reply {
        let (reply, answer) = oneshot::channel();
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) > QUEUE_BYTES {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            return Err(ApiError::unavailable("too much waits to be written; try again"));
        }
        let queue = &self.queues[place_of(&space, self.queues.len())];
        let job = Job { space, principal, push, bytes, reply: Some(reply) };
        if queue.try_send(Message::Push(job)).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            return Err(ApiError::unavailable("too much waits to be written; try again"));
        }
        answer.await.unwrap_or_else(|_| Err(ApiError::unavailable("the server is stopping").unsure()))
    }

    /// Runs something on a space in a transaction of its own, and returns after the commit. Where it makes a revision, and says which,
    /// all who watch the space hear of it, whether or not somebody still waits here.
    pub async fn work<T: Send + 'static>(
        &self,
        space: &str,
        run: impl FnOnce(&Store) -> Result<(T, Option<u64>), StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        let name = space.to_string();
        let work = move |writer: &mut Writer| {
            let result = writer.transact(run);
            if let Ok((_, Some(rev))) = &result {
                writer.hub.committed(&name, *rev);
                writer.waker.changed(&name);
                writer.waker.wake();
            }
            let _ = reply.send(result.map(|done| done.0));
        };
        let queue = &self.queues[place_of(space, self.queues.len())];
        let refused = |detail: &str| StoreError::Refused(Box::new(ApiError::unavailable(detail)));
        queue.try_send(Message::Work(Box::new(work))).map_err(|_| refused("too much waits to be written; try again"))?;
        done.await.unwrap_or_else(|_| Err(refused("the server is stopping")))
    }

    /// For the thread that does jobs: it must not keep the writer from ending.
    pub fn background(&self) -> Background {
        Background(self.queues.iter().map(mpsc::Sender::downgrade).collect())
    }

    /// Takes no more, and has what was queued before written.
    pub async fn finish(&self) {
        for queue in self.queues.iter() {
            let _ = queue.send(Message::End).await;
        }
    }
}

fn in_transaction<T: Send + 'static>(
    run: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> (Work, oneshot::Receiver<Result<T, StoreError>>) {
    let (reply, done) = oneshot::channel();
    let work = move |writer: &mut Writer| {
        let _ = reply.send(writer.transact(run));
    };
    (Box::new(work), done)
}

/// The way to the writer for what nobody waits for.
pub struct Background(Vec<mpsc::WeakSender<Message>>);

impl Background {
    /// Whether nobody is left who could have anything written.
    #[cfg(feature = "webhooks")]
    pub fn is_gone(&self) -> bool {
        self.0.iter().all(|queue| queue.upgrade().is_none())
    }

    /// Runs something on a space in a transaction of its own, and returns after the commit. Blocks. `None`: the server stops.
    pub fn write<T: Send + 'static>(
        &self,
        space: i64,
        run: impl FnOnce(&Store) -> DbResult<T> + Send + 'static,
    ) -> Option<Result<T, StoreError>> {
        let at = space.unsigned_abs() as usize % self.0.len();
        let queue = self.0[at].upgrade()?;
        let (work, done) = in_transaction(|store| Ok(run(store)?));
        queue.blocking_send(Message::Work(work)).ok()?;
        drop(queue);
        done.blocking_recv().ok()
    }
}

struct Writer {
    store: Store,
    hub: Arc<Hub>,
    faults: Faults,
    commits: u64,
    waker: Waker,
    metrics: Arc<Metrics>,
}

/// The writer of a space.
fn place_of(space: &str, writers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    space.hash(&mut hasher);
    (hasher.finish() % writers as u64) as usize
}

/// Starts a thread for each connection.
pub fn start(
    stores: Vec<Store>,
    hub: &Arc<Hub>,
    faults: &Faults,
    waker: &Waker,
    metrics: &Arc<Metrics>,
) -> std::io::Result<(WriterHandle, Vec<std::thread::JoinHandle<()>>)> {
    let waiting = Arc::new(AtomicUsize::new(0));
    let (mut queues, mut threads) = (Vec::new(), Vec::new());
    for store in stores {
        store.db.fail_statement(faults.fail_statement);
        let (queue, jobs) = mpsc::channel::<Message>(QUEUE_PUSHES);
        let writer = Writer { store, hub: hub.clone(), faults: faults.clone(), commits: 0, waker: waker.clone(), metrics: metrics.clone() };
        threads.push(run(writer, jobs, waiting.clone())?);
        queues.push(queue);
    }
    Ok((WriterHandle { queues: queues.into(), waiting }, threads))
}

fn run(mut writer: Writer, mut jobs: mpsc::Receiver<Message>, waiting: Arc<AtomicUsize>) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("writer".into()).spawn(move || {
        let mut next = jobs.blocking_recv();
        while let Some(message) = next.take() {
            let first = match message {
                Message::Push(job) => job,
                Message::Work(work) => {
                    work(&mut writer);
                    next = jobs.blocking_recv();
                    continue;
                }
                Message::End => break,
            };
            let mut bytes = first.bytes;
            let mut group = vec![first];
            while group.len() < GROUP_PUSHES && bytes < GROUP_BYTES {
                match jobs.try_recv() {
                    Ok(Message::Push(job)) => {
                        bytes += job.bytes;
                        group.push(job);
                    }
                    Ok(other) => {
                        next = Some(other);
                        break;
                    }
                    Err(_) => break,
                }
            }
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            writer.serve(group);
            if next.is_none() {
                next = jobs.blocking_recv();
            }
        }
    })
}

impl Writer {
    fn serve(&mut self, mut group: Vec<Job>) {
        // Those of a space stay in their order. Two servers that lock spaces in the same order never wait for each other.
        group.sort_by(|a, b| a.space.cmp(&b.space));
        let mut unsure = false;
        let began = Instant::now();
        let done = self.insist(&group, &mut unsure);
        self.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
        self.metrics.group_pushes.observe(group.len() as f64);
        match done {
            Ok(results) => group.into_iter().zip(results).for_each(|(job, result)| self.answer(job, result, unsure)),
            Err(error) if group.len() > 1 && !error.is_away() => {
                tracing::warn!(pushes = group.len(), %error, "the group failed; trying each push alone");
                self.metrics.failed_groups.inc();
                self.serve_each(group, unsure);
            }
            Err(error) => group.into_iter().for_each(|job| self.refuse(job, &error, unsure)),
        }
    }

    fn serve_each(&mut self, group: Vec<Job>, unsure: bool) {
        let mut locked: Option<(String, StoreError)> = None;
        for job in group {
            if let Some((_, error)) = locked.as_ref().filter(|locked| locked.0 == job.space) {
                // Waiting for each would keep the others waiting.
                self.refuse(job, error, unsure);
                continue;
            }
            let mut unsure = unsure;
            match self.insist(std::slice::from_ref(&job), &mut unsure) {
                Ok(results) => results.into_iter().take(1).zip([job]).for_each(|(result, job)| self.answer(job, result, unsure)),
                Err(error) => {
                    let space = job.space.clone();
                    self.refuse(job, &error, unsure);
                    if error.is_busy() {
                        locked = Some((space, error));
                    }
                }
            }
        }
    }

    /// Tries again what another server has got in the way of, and once what a connection broke under: that says nothing of the database.
    /// `unsure`: an attempt may have taken effect although it failed.
    fn insist(&mut self, group: &[Job], unsure: &mut bool) -> Result<Vec<Result<Plan, NotDecided>>, StoreError> {
        let mut result = self.attempt(group);
        for tried in 1..CONFLICTS {
            match &result {
                Err(StoreError::Db(error)) if error.is_conflict() => {}
                Err(error) if error.is_away() && tried == 1 => *unsure = true,
                _ => break,
            }
            result = self.attempt(group);
        }
        result
    }

    fn refuse(&self, mut job: Job, error: &StoreError, unsure: bool) {
        let refusal = failure(error);
        tracing::error!(space = job.space, code = refusal.code, %error, "the push failed");
        match self.look(&job, error) {
            Some(result) => self.answer(job, result, unsure),
            None => reply(&mut job, Err(if unsure { refusal.unsure() } else { refusal })),
        }
    }

    /// Where the disk takes nothing, what only asks for changes is answered without writing down that it asked.
    fn look(&self, job: &Job, error: &StoreError) -> Option<Result<Plan, NotDecided>> {
        let StoreError::Db(error) = error else { return None };
        let can_look = job.push.units.is_empty() && Trouble::of(error).is_some();
        can_look.then(|| self.store.look(&job.space, &job.principal, &job.push).ok()).flatten()
    }

    /// A panic, too, leaves nothing behind.
    fn transact<T>(&mut self, run: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let done = self.begin().and_then(|()| {
            let result = catch_unwind(AssertUnwindSafe(|| run(&self.store))).map_err(|_| StoreError::Panic)??;
            self.commit()?;
            Ok(result)
        });
        if done.is_err() {
            let _ = self.store.db.roll_back();
        }
        done
    }

    fn begin(&self) -> Result<(), StoreError> {
        // A rollback that failed must not make every later push fail.
        self.store.db.roll_back()?;
        Ok(self.store.db.begin_writing()?)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if self.faults.abort_before_commit == Some(self.commits + 1) {
            std::process::abort();
        }
        self.store.db.commit()?;
        self.metrics.wrote();
        self.commits += 1;
        if self.faults.abort_after_commit == Some(self.commits) {
            std::process::abort();
        }
        if self.faults.fail_after_commit == Some(self.commits) {
            return Err(StoreError::Fault("fail_after_commit"));
        }
        Ok(())
    }

    /// One database transaction. Nothing outside it changes before it is committed.
    fn attempt(&mut self, group: &[Job]) -> Result<Vec<Result<Plan, NotDecided>>, StoreError> {
        self.begin()?;
        let results = self.write(group);
        if results.is_err() {
            self.store.db.roll_back()?;
        }
        results
    }

    fn write(&mut self, group: &[Job]) -> Result<Vec<Result<Plan, NotDecided>>, StoreError> {
        let mut results = Vec::with_capacity(group.len());
        for job in group {
            results.push(self.store.push(&job.space, &job.principal, &job.push, moment()?, &self.faults)?);
        }
        self.commit()?;
        Ok(results)
    }

    fn answer(&self, mut job: Job, result: Result<Plan, NotDecided>, unsure: bool) {
        match result {
            Ok(plan) => {
                // What an attempt before has done nobody has been told of.
                if !plan.log.is_empty() || unsure {
                    self.hub.committed(&job.space, plan.space.rev);
                    self.waker.changed(&job.space);
                }
                if !plan.dying.is_empty() || unsure {
                    self.waker.wake();
                }
                let push = std::mem::replace(&mut job.push, Push { epoch: 0, cursor: None, clients: Vec::new(), units: Vec::new() });
                reply(&mut job, Ok((push, plan)));
            }
            Err(NotDecided::Stale(stale)) => {
                reply(&mut job, Err(ApiError::stale_sender(stale.epoch)));
            }
            Err(NotDecided::Panicked) => {
                tracing::error!(space = job.space, "deciding the push panicked");
                reply(&mut job, Err(ApiError::internal()));
            }
        }
    }
}

fn reply(job: &mut Job, result: Reply) {
    if let Some(reply) = job.reply.take() {
        // Whoever asked may have gone away; the effect stands, and a resend gets this answer again.
        let _ = reply.send(result);
    }
}

fn failure(error: &StoreError) -> ApiError {
    match error {
        StoreError::Db(error) => disk::refusal(error).unwrap_or_else(ApiError::internal),
        _ => ApiError::internal(),
    }
}

pub fn moment() -> Result<Moment, StoreError> {
    let now_ms = clock::now().as_millis() as u64;
    let random = getrandom::u64().map_err(|_| StoreError::Fault("no randomness from the system"))?;
    Ok(Moment { now_ms, random })
}
