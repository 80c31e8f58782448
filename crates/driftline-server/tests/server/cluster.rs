//! PostgreSQL for tests, each in a folder of its own. It is stopped, and its folder removed, by a shell that waits for the end of a pipe
//! whose other end this process holds: however this process ends, that goes with it.

use driftline_server::Place;
use driftline_server::db::Db;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

pub struct Cluster {
    pub folder: PathBuf,
    keeper: Child,
    held: Option<ChildStdin>,
}

/// The one that most tests have in common.
pub fn common() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// A place as an operator names it, with all that tells it from others.
pub fn url(place: &Place) -> String {
    let Place::Postgres(config) = place else { panic!("nobody shares {place}") };
    let [Host::Unix(folder)] = config.get_hosts() else { panic!("{:?} is no socket", config.get_hosts()) };
    let coded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (folder, options) = (coded(folder.to_str().unwrap()), coded(config.get_options().unwrap_or_default()));
    format!("postgres://{}@{folder}/{}?options={options}", config.get_user().unwrap(), config.get_dbname().unwrap())
}

impl Cluster {
    pub fn start() -> Cluster {
        let folder = tempfile::Builder::new().prefix("driftline-postgres-").tempdir().unwrap().keep();
        let (at, pg, own) = (folder.display(), command("pg_ctl"), if is_root() { "chown postgres" } else { "test -d" });
        let script = format!(
            "set -e; trap '' INT TERM HUP; cd /; {own} {at}
             {init} -D {at}/data -U postgres -A trust -E UTF8 --no-locale --no-sync >/dev/null
             trap '{pg} -D {at}/data -m immediate -s stop; rm -rf {at}' EXIT
             echo ready; read -r _ || true",
            init = command("initdb"),
        );
        let mut keeper = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "there is no PostgreSQL in {at}");
        let cluster = Cluster { held: keeper.stdin.take(), folder, keeper };
        assert!(cluster.launch(), "PostgreSQL does not start in {}", cluster.folder.display());
        cluster
    }

    fn launch(&self) -> bool {
        let (at, pg) = (self.folder.display(), command("pg_ctl"));
        let options = format!("-c listen_addresses='' -c unix_socket_directories={at} -c max_connections=600 -c fsync=off");
        let script = format!("cd /; {pg} -D {at}/data -s -w -l {at}/data/log -o \"{options}\" start >/dev/null 2>&1");
        Command::new("sh").args(["-c", &script]).status().unwrap().success()
    }

    fn config(&self, database: &str, options: &str) -> Config {
        format!("host={} user=postgres dbname={database} options='{options}'", self.folder.display()).parse().unwrap()
    }

    /// A place with nothing in it, beside those of other tests: a schema of its own in the one database.
    pub fn database(&self) -> Place {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("w{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Db::connect(&self.config("postgres", "")).unwrap().batch(&format!("CREATE SCHEMA {name}")).unwrap();
        Place::Postgres(Box::new(self.config("postgres", &format!("-c search_path={name}"))))
    }

    /// A database of its own with what another holds, to which nobody is connected; or with nothing. One of this name goes before.
    pub fn copy(&self, of: Option<&Place>, name: &str) -> Place {
        let from = match of {
            Some(Place::Postgres(config)) => config.get_dbname().unwrap(),
            Some(place) => panic!("{place} is not in PostgreSQL"),
            None => "template0",
        };
        let db = Db::connect(&self.config("postgres", "")).unwrap();
        for sql in [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name} TEMPLATE {from}")] {
            db.batch(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        Place::Postgres(Box::new(self.config(name, "")))
    }

    /// SIGKILL, and a start that finds what was committed.
    pub fn kill_and_start(&self) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap();
        assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
        // Its children are to go first.
        let started = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            self.launch()
        });
        assert!(started, "PostgreSQL does not start again");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.held.take());
        let _ = self.keeper.wait();
    }
}

pub fn is_root() -> bool {
    String::from_utf8_lossy(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0"
}

/// One of PostgreSQL's programs: where Debian puts them, or on the path. It does not run as root.
pub fn command(program: &str) -> String {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let found = versions.chain(on_path).map(|folder| folder.join(program)).find(|path| path.exists());
    let found = found.unwrap_or_else(|| panic!("there is no {program} here: install PostgreSQL (on Debian, `apt install postgresql`)"));
    format!("{}{}", if is_root() { "runuser -u postgres -- " } else { "" }, found.display())
}
