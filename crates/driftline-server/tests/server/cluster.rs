//! One PostgreSQL for all tests of this process. It is stopped, and its folder removed, by a shell that waits for the end of a pipe
//! whose other end this process holds: however this process ends, that goes with it.

use driftline_server::Place;
use driftline_server::db::Db;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Cluster {
    folder: PathBuf,
    _keeper: Child,
}

/// A database with nothing in it: a schema of its own in the one database.
pub fn database() -> Place {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(start);
    let name = format!("w{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let config = |path: &str| {
        let text = format!("host={} user=postgres dbname=postgres options='-c search_path={path}'", cluster.folder.display());
        text.parse::<tokio_postgres::Config>().unwrap()
    };
    Db::connect(&config("public")).unwrap().batch(&format!("CREATE SCHEMA {name}")).unwrap();
    Place::Postgres(Box::new(config(&name)))
}

fn start() -> Cluster {
    let folder = tempfile::Builder::new().prefix("driftline-postgres-").tempdir().unwrap().keep();
    let is_root = String::from_utf8_lossy(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
    // PostgreSQL does not run as root.
    let user = if is_root { "runuser -u postgres --" } else { "" };
    let programs = programs();
    let script = format!(
        "set -e; cd /; chmod 700 {folder}; if [ -n \"{user}\" ]; then chown postgres {folder}; fi
         trap '{user} {programs}/pg_ctl -D {folder}/data -m immediate -s stop; rm -rf {folder}' EXIT
         {user} {programs}/initdb -D {folder}/data -U postgres -A trust -E UTF8 --no-locale --no-sync >{folder}.log 2>&1
         {user} {programs}/pg_ctl -D {folder}/data -s -w -l {folder}/data/log \\
           -o \"-c listen_addresses='' -c unix_socket_directories={folder} -c max_connections=500\" start >&2
         rm -f {folder}.log; echo ready; read -r _ || true",
        folder = folder.display(),
        programs = programs.display(),
    );
    let mut keeper = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(keeper.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line.trim(), "ready", "PostgreSQL does not start in {}", folder.display());
    Cluster { folder, _keeper: keeper }
}

/// The folder of PostgreSQL's programs: those on the path, or where Debian puts them.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let is_it = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    let found = versions.chain(on_path).find(is_it);
    found.unwrap_or_else(|| panic!("there is no PostgreSQL here: install Debian's package `postgresql`, or set PATH to its programs"))
}
