//! Where a database is: a folder of this machine, or a PostgreSQL that several servers share.

use crate::db::{Db, DbResult, Dialect};
use crate::disk;
use rusqlite::OpenFlags;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
#[cfg(feature = "postgres")]
use std::time::Duration;

/// The file in a folder that is SQLite's.
const DATABASE_FILE: &str = "driftline.db";

#[derive(Debug, Clone)]
pub enum Place {
    Folder(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Box<tokio_postgres::Config>),
}

// Not from a text: that may be a URL, and is parsed.
impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Place {
        Place::Folder(path)
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Place {
        Place::Folder(path.into())
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Folder(path) => path.display().fmt(f),
            // Neither user nor password.
            #[cfg(feature = "postgres")]
            Place::Postgres(config) => write!(f, "the PostgreSQL database {}", config.get_dbname().unwrap_or("of its user")),
        }
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    /// A URL `postgres://user@host/name`, or else a folder.
    fn from_str(text: &str) -> Result<Place, String> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Ok(Place::Folder(text.into()));
        }
        #[cfg(feature = "postgres")]
        return text.parse().map(Box::new).map(Place::Postgres).map_err(|e| format!("this is no URL of a PostgreSQL database: {e}"));
        #[cfg(not(feature = "postgres"))]
        Err("this driftline was built without PostgreSQL: build it with `--features postgres`".to_string())
    }
}

impl Place {
    pub fn dialect(&self) -> Dialect {
        match self {
            Place::Folder(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => Dialect::Postgres,
        }
    }

    /// How many may write at once.
    pub fn writers(&self) -> usize {
        match self {
            Place::Folder(_) => 1,
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => 4,
        }
    }

    /// Whether there is a database, with tables or without.
    pub fn exists(&self) -> bool {
        match self {
            Place::Folder(path) => path.join(DATABASE_FILE).exists(),
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => true,
        }
    }

    /// The file of a folder's database.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Place::Folder(path) => Some(path.join(DATABASE_FILE)),
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => None,
        }
    }

    /// Connects to a database that exists, and has been looked at before.
    pub fn connect(&self) -> DbResult<Db> {
        match self {
            Place::Folder(path) => Db::open(&path.join(DATABASE_FILE), OpenFlags::SQLITE_OPEN_READ_WRITE),
            #[cfg(feature = "postgres")]
            Place::Postgres(config) => Db::connect(&patient(config, true)),
        }
    }

    /// The same for what may take long: first loads, whose readers may be slow, and large deletes.
    pub fn connect_for_long(&self) -> DbResult<Db> {
        match self {
            Place::Folder(_) => self.connect(),
            #[cfg(feature = "postgres")]
            Place::Postgres(config) => Db::connect(&patient(config, false)),
        }
    }

    /// Connects, and looks whether what is there is a database; says what is wrong in a sentence.
    pub fn open(&self) -> Result<Db, String> {
        match self {
            Place::Folder(path) => open_file(&path.join(DATABASE_FILE), OpenFlags::SQLITE_OPEN_READ_WRITE),
            #[cfg(feature = "postgres")]
            Place::Postgres(config) => Db::connect(config).map_err(|e| self.describe(&e)),
        }
    }

    /// The same for what makes tables anew, however long that takes; a folder's database is made where there is none. PostgreSQL's has to
    /// be there.
    pub fn create(&self) -> Result<Db, String> {
        match self {
            Place::Folder(path) => {
                make_private(path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
                open_file(&path.join(DATABASE_FILE), OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(config) => Db::connect_to_wait(&kept_alive(config)).map_err(|e| self.describe(&e)),
        }
    }

    /// Why it cannot be connected to, in a sentence that begins with a code.
    pub fn describe(&self, error: &crate::db::DbError) -> String {
        match self {
            Place::Folder(path) => disk::describe(&path.join(DATABASE_FILE), error),
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => format!("server_database: cannot reach {self}: {error}"),
        }
    }
}

/// A server does not wait for ever: not for a connection, nor for a statement, nor for a lock that another one holds.
#[cfg(feature = "postgres")]
pub(crate) fn patient(config: &tokio_postgres::Config, is_brief: bool) -> tokio_postgres::Config {
    let limits = match is_brief {
        true => "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s",
        false => "-c lock_timeout=10s",
    };
    let given = config.get_options().map(|given| format!("{limits} {given}"));
    let mut config = kept_alive(config);
    config.options(given.as_deref().unwrap_or(limits));
    config
}

/// Whether there is somebody at the other end is found out soon.
#[cfg(feature = "postgres")]
fn kept_alive(config: &tokio_postgres::Config) -> tokio_postgres::Config {
    let mut config = config.clone();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    config.keepalives_idle(Duration::from_secs(10)).keepalives_interval(Duration::from_secs(5)).keepalives_retries(2);
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(20));
    }
    config
}

/// A folder and a file in it that nobody else on this machine reads. What is there already stays as it is.
fn make_private(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = folder.join(DATABASE_FILE);
    if disk::refuse_emptied(&file, true).is_ok() && !file.exists() {
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
            // Another process has just made it.
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn open_file(path: &Path, flags: OpenFlags) -> Result<Db, String> {
    disk::refuse_emptied(path, flags.contains(OpenFlags::SQLITE_OPEN_CREATE))?;
    let db = Db::open(path, flags).map_err(|e| disk::describe(path, &e))?;
    // A file that was cut is found out by the first look into it.
    db.exists("SELECT 1 FROM sqlite_master", &[]).map_err(|e| disk::describe(path, &e))?;
    Ok(db)
}
