//! The database: opening it, and one push from loading to its written plan. The caller owns the transaction.

use crate::db::{Db, DbError, DbResult};
#[cfg(feature = "webhooks")]
use crate::effects::Webhook;
use crate::error::ApiError;
use crate::fault::Faults;
use crate::place::Place;
use crate::rules::{Proposal, Ruled};
use crate::search::{Bursts, Search};
use crate::tables::Layout;
use crate::{load, write};
use driftline_core::dedupe::ClientState;
use driftline_core::edit::Edit;
use driftline_core::limits;
use driftline_core::load::Load;
use driftline_core::reconcile::{Plan, StaleSender, reconcile_by};
use driftline_core::schema::Schema;
use driftline_core::value::Row;
use driftline_core::wire::Push;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[derive(Debug)]
pub enum StoreError {
    Db(DbError),
    Fault(&'static str),
    /// Nothing is wrong with the database: it is not to be done.
    Refused(Box<ApiError>),
    Panic,
}

impl From<DbError> for StoreError {
    fn from(error: DbError) -> StoreError {
        StoreError::Db(error)
    }
}

impl StoreError {
    pub fn is_busy(&self) -> bool {
        matches!(self, StoreError::Db(error) if error.is_busy())
    }

    pub fn is_away(&self) -> bool {
        matches!(self, StoreError::Db(error) if error.is_away())
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Db(error) => write!(f, "database: {error}"),
            StoreError::Refused(refusal) => write!(f, "{}: {}", refusal.code, refusal.detail),
            StoreError::Fault(point) => write!(f, "fault point {point}"),
            StoreError::Panic => f.write_str("a panic; its message is above"),
        }
    }
}

/// Why a push was not decided although the database works. Nothing was written for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDecided {
    Stale(StaleSender),
    Panicked,
}

/// Time and chance for one push.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment {
    pub now_ms: u64,
    pub random: u64,
}

/// A connection with the schema that its tables follow.
pub struct Store {
    pub(crate) db: Db,
    pub(crate) schema: Arc<Schema>,
    pub(crate) layout: Arc<Layout>,
    /// The app's own.
    pub(crate) rules: Option<Ruled>,
    /// Whether rows are searched for by their words.
    pub(crate) search: Option<Search>,
    pub(crate) bursts: Bursts,
    /// What is to be told to another.
    #[cfg(feature = "webhooks")]
    pub(crate) webhook: Option<Arc<Webhook>>,
}

impl Store {
    /// Opens an existing database; one that is absent is not made.
    pub fn open(data: &Place, schema: Arc<Schema>, layout: Arc<Layout>) -> DbResult<Store> {
        Ok(Store::over(data.connect()?, schema, layout))
    }

    /// The same for what may take long.
    pub fn open_for_long(data: &Place, schema: Arc<Schema>, layout: Arc<Layout>) -> DbResult<Store> {
        Ok(Store::over(data.connect_for_long()?, schema, layout))
    }

    fn over(db: Db, schema: Arc<Schema>, layout: Arc<Layout>) -> Store {
        Store {
            db,
            schema,
            layout,
            rules: None,
            search: None,
            bursts: Bursts::default(),
            #[cfg(feature = "webhooks")]
            webhook: None,
        }
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Loads, decides and writes one push. On an error the caller rolls its transaction back.
    pub fn push(
        &self,
        space: &str,
        principal: &str,
        push: &Push,
        moment: Moment,
        faults: &Faults,
    ) -> Result<Result<Plan, NotDecided>, StoreError> {
        let decided = catch_unwind(AssertUnwindSafe(|| self.decide(space, principal, push, moment, faults)));
        let Ok(decided) = decided else { return Ok(Err(NotDecided::Panicked)) };
        let (known, mut plan) = match decided? {
            Ok(decided) => decided,
            Err(stale) => return Ok(Err(NotDecided::Stale(stale))),
        };
        let written = catch_unwind(AssertUnwindSafe(|| write::plan(self, space, principal, push, &known, &mut plan)));
        written.map_err(|_| StoreError::Panic)??;
        if Faults::names(faults.fail_row, push) {
            return Err(StoreError::Fault("fail_row"));
        }
        Ok(Ok(plan))
    }

    /// Answers a push that sends nothing without writing anything, where nothing can be written: the receipts stay as they are.
    pub fn look(&self, space: &str, principal: &str, push: &Push) -> Result<Result<Plan, NotDecided>, StoreError> {
        let decided = self.db.reading(|| self.decide(space, principal, push, Moment::default(), &Faults::default()))?;
        let looked = decided.map(|(_, mut plan)| {
            for (client, state) in push.clients.iter().zip(&mut plan.clients) {
                state.receipts.current = client.receipt;
            }
            plan
        });
        Ok(looked.map_err(NotDecided::Stale))
    }

    fn decide(
        &self,
        space: &str,
        principal: &str,
        push: &Push,
        moment: Moment,
        faults: &Faults,
    ) -> Result<Result<(Known, Plan), StaleSender>, StoreError> {
        let mut load = Load::new(&self.schema, push, limits::DELETE_ROWS);
        let known = load::answer_all(self, space, principal, push, &mut load)?;
        if Faults::names(faults.panic_row, push) {
            panic!("fault point panic_row");
        }
        let rule = |edit: &Edit, before: Option<&Row>| match &self.rules {
            Some(rules) => rules.judge(Proposal { space, principal, schema: &self.schema, edit, before }),
            None => Ok(()),
        };
        let Moment { now_ms, random } = moment;
        let plan = reconcile_by(&rule, &self.schema, push, load.finish(), now_ms, random, known.next_actor);
        Ok(plan.map(|plan| (known, plan)))
    }
}

/// What the store found out while loading, and needs again for writing.
#[derive(Debug, Default)]
pub struct Known {
    /// `None`: the space was never written.
    pub space: Option<i64>,
    /// Its revision before.
    pub rev: u64,
    pub clients: Vec<Option<ClientState>>,
    pub next_actor: u32,
}
