//! What is to be done beside the pushes: one thread, which looks at each space by itself, so that what fails for one keeps no other.
//!
//! A step is one transaction, handed to the writer. What fails is logged, counted, and tried again at the next look; a panic counts as
//! a failure. The thread keeps nothing that a restart could lose: what there is to do, the database tells.

use crate::blobs;
use crate::clock::now_s;
use crate::db::{DbResult, Row};
use crate::metrics::Metrics;
use crate::prune;
use crate::reap;
use crate::search::{self, Search};
use crate::store::{Store, StoreError};
use crate::versions;
use crate::writer::Background;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long to wait after a failure, and how often to look without being told.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A space in which nothing has happened for so long is quiet: what is done for it is in nobody's way.
const QUIET: Duration = Duration::from_millis(100);
/// Between two looks.
const BREATH: Duration = Duration::from_millis(10);
/// After so long it is looked at all the same.
const LOUD: Duration = Duration::from_secs(20);
/// Counting reads whole tables.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// How often to look at all spaces: another server that is gone may have left something.
const ALL_EVERY: Duration = Duration::from_secs(600);

/// What an operator sets.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// Revisions of a space that its log keeps at least. A client that has been away for more loads the space anew.
    pub revisions: u64,
    /// Versions of a space that can be gone back to.
    pub versions: u32,
    /// A space that goes on changing gets a version this often.
    pub version_every: Duration,
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping { revisions: 10_000, versions: 20, version_every: Duration::from_secs(600) }
    }
}

/// What came of handing something to the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// There is more of it.
    Later,
    Stopping,
}

enum Wake {
    Look,
    /// Looks at everything, and says when it has.
    All(oneshot::Sender<()>),
    Stop,
}

/// When a space has changed: for the first time since it was looked at, and for the last.
#[derive(Clone, Copy)]
struct Changed {
    first: Instant,
    last: Instant,
}

type Spaces = BTreeMap<String, Changed>;

/// The spaces that have changed since they were looked at.
#[derive(Clone, Default)]
pub struct Changes(Arc<Mutex<Spaces>>);

impl Changes {
    fn spaces(&self) -> MutexGuard<'_, Spaces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes those that are quiet, or have not been for long; all of them, where nobody wants to wait.
    fn quiet(&self, at_once: bool) -> Vec<String> {
        let is_quiet = |changed: &Changed| at_once || changed.last.elapsed() >= QUIET || changed.first.elapsed() >= LOUD;
        let mut spaces = self.spaces();
        let (quiet, loud) = std::mem::take(&mut *spaces).into_iter().partition::<Spaces, _>(|(_, changed)| is_quiet(changed));
        *spaces = loud;
        quiet.into_keys().collect()
    }
}

/// Tells the thread that there is something to do.
#[derive(Clone)]
pub struct Waker {
    sender: Sender<Wake>,
    changes: Changes,
}

impl Waker {
    /// Some row is dying.
    pub fn wake(&self) {
        let _ = self.sender.send(Wake::Look);
    }

    /// A space has changed: it is looked at once it is quiet.
    pub fn changed(&self, space: &str) {
        let now = Instant::now();
        let mut changed = self.changes.spaces();
        let was_empty = changed.is_empty();
        match changed.get_mut(space) {
            Some(changed) => changed.last = now,
            None => drop(changed.insert(space.to_string(), Changed { first: now, last: now })),
        }
        drop(changed);
        if was_empty {
            self.wake();
        }
    }

    /// Has all jobs run once for every space, and returns when they have.
    pub async fn run_all(&self) {
        let (done, wait) = oneshot::channel();
        let _ = self.sender.send(Wake::All(done));
        let _ = wait.await;
    }

    pub fn stop(&self) {
        let _ = self.sender.send(Wake::Stop);
    }
}

pub struct Woken(Receiver<Wake>);

pub fn waker() -> (Waker, Changes, Woken) {
    let (sender, receiver) = channel();
    let changes = Changes::default();
    (Waker { sender, changes: changes.clone() }, changes, Woken(receiver))
}

pub struct Jobs {
    pub store: Store,
    pub writer: Background,
    pub metrics: Arc<Metrics>,
    pub keeping: Keeping,
    pub search: Option<Search>,
    pub changes: Changes,
}

/// What there is to look at.
struct Due {
    /// When all spaces are. At first they are at once: an earlier process may have left something.
    all: Instant,
    /// Those that something has failed for, or that there is more to do for, and when to look at them again.
    again: BTreeMap<String, Instant>,
    /// Spaces in which a large delete has failed, and when to go on with it.
    reap: BTreeMap<i64, Instant>,
    /// When a version of a space is to be kept.
    versions: BTreeMap<String, Instant>,
}

/// What of a space has failed; it was logged and counted.
struct Failed {
    prune: bool,
}

impl Jobs {
    /// Starts the thread.
    pub fn start(self, woken: Woken) -> std::io::Result<std::thread::JoinHandle<()>> {
        std::thread::Builder::new().name("jobs".into()).spawn(move || {
            let now = Instant::now();
            let mut due = Due { all: now, again: BTreeMap::new(), reap: BTreeMap::new(), versions: BTreeMap::new() };
            let (mut told, mut counted): (Vec<oneshot::Sender<()>>, Option<Instant>) = (Vec::new(), None);
            loop {
                let at_once = !told.is_empty();
                let look = || {
                    let progress = self.look(&mut due, at_once);
                    if counted.is_none_or(|counted| counted.elapsed() >= COUNT_EVERY) {
                        counted = Some(Instant::now());
                        self.count();
                    }
                    progress
                };
                // Whatever happens, the next look comes.
                match catch_unwind(AssertUnwindSafe(look)) {
                    Ok(Progress::Stopping) => return,
                    Ok(_) => {
                        self.metrics.last_jobs.set(now_s());
                    }
                    Err(_) => self.metrics.ran("look", "panicked"),
                }
                for told in told.drain(..) {
                    let _ = told.send(());
                }
                match woken.0.recv_timeout(self.wait(&due)) {
                    Ok(Wake::Look) | Err(RecvTimeoutError::Timeout) => {}
                    Ok(Wake::All(done)) => {
                        due.all = Instant::now();
                        due.again.values_mut().for_each(|at| *at = due.all);
                        due.reap.clear();
                        let ripe = due.all + self.keeping.version_every;
                        due.versions.values_mut().for_each(|at| *at = ripe.min(*at));
                        told.push(done);
                    }
                    Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })
    }

    /// Until something may be due.
    fn wait(&self, due: &Due) -> Duration {
        let next = due.again.values().chain(due.reap.values()).min();
        let again = next.map_or(LOOK_EVERY, |at| at.saturating_duration_since(Instant::now()));
        let quiet = if self.changes.spaces().is_empty() { LOOK_EVERY } else { QUIET };
        // Whatever goes wrong, it does not spin.
        again.min(quiet).min(LOOK_EVERY).max(BREATH)
    }

    fn look(&self, due: &mut Due, at_once: bool) -> Progress {
        if self.reap(due) == Progress::Stopping {
            return Progress::Stopping;
        }
        let now = Instant::now();
        let mut quiet: BTreeSet<String> = self.changes.quiet(at_once).into_iter().collect();
        // What has failed has its own time.
        quiet.retain(|space| due.again.get(space).is_none_or(|at| *at <= now));
        quiet.extend(due.again.iter().filter(|(_, at)| **at <= now).map(|(space, _)| space.clone()));
        let spaces = match self.spaces(due, &quiet) {
            Ok(spaces) => spaces,
            Err(error) => {
                tracing::error!(%error, "cannot read which spaces there are");
                self.metrics.ran("look", "failed");
                due.again.extend(quiet.into_iter().map(|space| (space, now + LOOK_EVERY)));
                return Progress::Done;
            }
        };
        due.again.retain(|space, _| !quiet.contains(space));
        let stale = blobs::stale(&self.store).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read which blobs nobody goes on to send");
            self.metrics.ran("blobs", "failed");
            BTreeSet::new()
        });
        let mut pruned = true;
        for (space, name) in spaces {
            match self.look_at(space, &name, stale.contains(&space), due) {
                Ok(Progress::Stopping) => return Progress::Stopping,
                Ok(Progress::Done) => {}
                Ok(Progress::Later) => drop(due.again.insert(name, Instant::now())),
                Err(Failed { prune }) => {
                    pruned &= !prune;
                    due.again.insert(name, Instant::now() + LOOK_EVERY);
                }
            }
        }
        if pruned {
            self.metrics.last_prune.set(now_s());
        }
        Progress::Done
    }

    /// `is_stale`: somebody has begun to send a blob, and given up.
    fn look_at(&self, space: i64, name: &str, is_stale: bool, due: &mut Due) -> Result<Progress, Failed> {
        // Before the log is shortened: it tells what is to be indexed.
        let filled = match self.search {
            Some(_) => self.step("search", name, || search::fill(&self.store, &self.writer, space)),
            None => Some(Progress::Done),
        };
        let prune = self.step("prune", name, || prune::prune(&self.store, &self.writer, space, self.keeping.revisions, &self.metrics));
        let expired = match is_stale {
            true => self.step("blobs", name, || blobs::expire(&self.store, &self.writer, space)),
            false => Some(Progress::Done),
        };
        let is_ripe = due.versions.get(name).is_some_and(|at| *at <= Instant::now());
        let version = match is_ripe {
            true => self.step("version", name, || versions::keep(&self.store, &self.writer, space, name, &self.keeping)),
            false => Some(Progress::Done),
        };
        match version {
            // Somebody has kept one not long ago.
            Some(Progress::Later) => drop(due.versions.insert(name.to_string(), Instant::now() + self.keeping.version_every / 2)),
            Some(Progress::Done) if is_ripe => drop(due.versions.remove(name)),
            None => drop(due.versions.insert(name.to_string(), Instant::now() + LOOK_EVERY)),
            _ => {}
        }
        let all = [prune, filled, expired, version];
        if all.contains(&Some(Progress::Stopping)) {
            return Ok(Progress::Stopping);
        }
        if all.contains(&None) {
            return Err(Failed { prune: prune.is_none() });
        }
        Ok(if [prune, filled].contains(&Some(Progress::Later)) { Progress::Later } else { Progress::Done })
    }

    /// The spaces to look at now, with their numbers.
    fn spaces(&self, due: &mut Due, quiet: &BTreeSet<String>) -> DbResult<Vec<(i64, String)>> {
        let now = Instant::now();
        let ripe = now + self.keeping.version_every;
        let db = &self.store.db;
        let read = |row: &Row| Ok((row.int(0)?, row.text(1)?.into_owned()));
        if due.all <= now {
            let unversioned =
                "SELECT id, name FROM _space AS s WHERE rev > (SELECT coalesce(max(rev), 0) FROM _version AS v WHERE v.space = s.id)";
            for (_, name) in db.reading(|| db.all(unversioned, &[], read))? {
                due.versions.entry(name).or_insert(ripe);
            }
            let all = db.reading(|| db.all("SELECT id, name FROM _space ORDER BY id", &[], read))?;
            due.all = now + ALL_EVERY;
            return Ok(all);
        }
        for name in quiet {
            due.versions.entry(name.clone()).or_insert(ripe);
        }
        let names = due.versions.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name).chain(quiet);
        let names: BTreeSet<&String> = names.collect();
        db.reading(|| {
            let one = |name: &String| db.first("SELECT id, name FROM _space WHERE name = ?1", &[name.as_str().into()], read);
            Ok(names.into_iter().map(one).collect::<DbResult<Vec<_>>>()?.into_iter().flatten().collect())
        })
    }

    fn reap(&self, due: &mut Due) -> Progress {
        let dying = match self.store.db.reading(|| reap::dying(&self.store)) {
            Ok(dying) => dying,
            Err(error) => {
                tracing::error!(%error, "cannot read what is being deleted");
                self.metrics.ran("reap", "failed");
                due.reap.values_mut().for_each(|at| *at = Instant::now() + LOOK_EVERY);
                return Progress::Done;
            }
        };
        let now = Instant::now();
        due.reap.retain(|space, at| *at > now && dying.contains_key(space));
        for (space, dying) in dying.into_iter().filter(|(space, _)| !due.reap.contains_key(space)).collect::<Vec<_>>() {
            match self.step("reap", &space.to_string(), || reap::reap(&self.store, &self.writer, space, &dying)) {
                Some(Progress::Stopping) => return Progress::Stopping,
                // What searches, and what is pruned, is another now.
                Some(_) => drop(self.name_of(space).map(|name| due.again.insert(name, now))),
                None => drop(due.reap.insert(space, Instant::now() + LOOK_EVERY)),
            }
        }
        Progress::Done
    }

    fn name_of(&self, space: i64) -> Option<String> {
        let sql = "SELECT name FROM _space WHERE id = ?1";
        self.store.db.reading(|| self.store.db.first(sql, &[space.into()], |row| Ok(row.text(0)?.into_owned()))).ok().flatten()
    }

    /// `None`: it has failed, and is to be tried again.
    fn step(&self, job: &'static str, space: &str, run: impl FnOnce() -> Result<Progress, StoreError>) -> Option<Progress> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(progress)) => {
                self.metrics.ran(job, "done");
                Some(progress)
            }
            Ok(Err(error)) => {
                tracing::error!(job, space, %error, "a job failed; it is tried again");
                self.metrics.ran(job, "failed");
                None
            }
            Err(_) => {
                tracing::error!(job, space, "a job panicked; it is tried again");
                self.metrics.ran(job, "panicked");
                None
            }
        }
    }

    /// Figures that only the database knows.
    fn count(&self) {
        let Metrics { marks, dying_roots, search_waiting, effects_waiting, effects_parked, .. } = &*self.metrics;
        let Metrics { blobs, blob_bytes, blob_uploads, .. } = &*self.metrics;
        let unsearched = match self.search {
            Some(_) => {
                "(SELECT count(*) FROM _search_dirty) + count(*) FROM _space AS s LEFT JOIN _search_space AS n ON n.space = s.id \
                 WHERE n.rev IS NULL OR n.rev < s.rev"
            }
            None => "0",
        };
        let counted = [
            ("count(*) FROM _mark", marks),
            ("count(*) FROM _dying", dying_roots),
            (unsearched, search_waiting),
            ("count(*) FROM _effect WHERE NOT parked", effects_waiting),
            ("count(*) FROM _effect WHERE parked", effects_parked),
            ("count(*) FROM _blob", blobs),
            ("CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM _blob", blob_bytes),
            ("count(*) FROM _blob_upload", blob_uploads),
        ];
        for (what, gauge) in counted {
            let read = self.store.db.reading(|| self.store.db.one(&format!("SELECT {what}"), &[], |row| row.int(0)));
            match read {
                Ok(count) => {
                    gauge.set(count);
                }
                Err(error) => tracing::warn!(what, %error, "cannot count"),
            }
        }
    }
}
