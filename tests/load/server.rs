//! The real server, as a process of its own in a folder of its own.

use crate::options::Options;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

pub const SCHEMA: &str = include_str!("schema.json");

/// As many as a server takes at least.
const SECRET_BYTES: usize = 32;
/// Longer than any run.
const TOKEN_S: u64 = 24 * 3_600;
/// Lines of the server's log that are shown when it has ended.
const LAST_WORDS: usize = 8;
/// A client takes two of the server's file handles. The shell gives way to the server, which keeps its process id.
const RAISED: &str = "ulimit -n 65536 2>/dev/null || ulimit -n \"$(ulimit -Hn)\" 2>/dev/null; exec \"$0\" \"$@\"";

/// Ended when it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Server {
    process: Running,
    pub address: SocketAddr,
    /// The file of its database, where that is SQLite's.
    pub database: Option<PathBuf>,
    key: EncodingKey,
    log: PathBuf,
    _stdout: BufReader<ChildStdout>,
    // Last: it goes when the process has ended.
    _folder: TempDir,
}

impl Server {
    /// On the database that was named, or on an empty one.
    pub fn start(options: &Options) -> Result<Server, String> {
        if !options.server.is_file() {
            let postgres = if options.is_postgres() { " --features postgres" } else { "" };
            let path = options.server.display();
            return Err(format!("there is no server at {path}; build it: cargo build --release -p driftline-server{postgres}"));
        }
        let folder = tempfile::Builder::new().prefix("driftline-load-").tempdir().map_err(|error| format!("no folder: {error}"))?;
        let data = options.data.clone().map_or_else(|| folder.path().join("data"), PathBuf::from);
        let (schema, secret_file, log) = (folder.path().join("schema.json"), folder.path().join("secret"), folder.path().join("log"));
        let cannot = |error: std::io::Error| format!("cannot write to {}: {error}", folder.path().display());
        std::fs::write(&schema, SCHEMA).map_err(cannot)?;
        let secret = make_secret(&secret_file).map_err(cannot)?;
        let places = |command: &mut Command| {
            command.arg("--schema").arg(&schema).arg("--migrations").arg(folder.path().join("migrations"));
            // A URL may hold a password, which has no place in a list of processes.
            command.env("DRIFTLINE_DATA", &data).env_remove("DRIFTLINE_FAULT").stdin(Stdio::null());
        };
        for action in ["plan", "apply"] {
            let mut command = Command::new(&options.server);
            command.args(["migrate", action]);
            places(&mut command);
            run(&mut command).map_err(|why| format!("`driftline migrate {action}`: {why}"))?;
        }
        let mut command = Command::new("sh");
        command.args(["-c", RAISED]).arg(&options.server).args(["serve", "--listen", "127.0.0.1:0", "--secret-file"]).arg(&secret_file);
        places(&mut command);
        command.args(&options.serve).stdout(Stdio::piped()).stderr(File::create(&log).map_err(cannot)?);
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "warn");
        }
        let (process, address, stdout) = serve(&mut command).map_err(|why| format!("{why}{}", last_words(&log)))?;
        let database = (!options.is_postgres()).then(|| data.join("driftline.db"));
        let key = EncodingKey::from_secret(&secret);
        Ok(Server { process, address, database, key, log, _stdout: stdout, _folder: folder })
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Says so where it has ended.
    pub fn check(&mut self) -> Result<(), String> {
        match self.process.0.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the server has ended ({status}){}", last_words(&self.log))),
            Err(error) => Err(format!("nothing can be told of the server: {error}")),
        }
    }

    /// A credential for all spaces.
    pub fn token(&self, user: &str) -> Result<String, String> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = json!({"sub": user, "exp": now_s + TOKEN_S, "spaces": ["*"], "role": "write"});
        encode(&Header::new(Algorithm::HS256), &claims, &self.key).map_err(|error| error.to_string())
    }
}

fn make_secret(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut secret = vec![0; SECRET_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    // The server takes none that others can read.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(&secret)?;
    Ok(secret)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_string()) }
}

/// Starts the server, and waits until it says where it listens.
fn serve(command: &mut Command) -> Result<(Running, SocketAddr, BufReader<ChildStdout>), String> {
    let mut process = Running(command.spawn().map_err(|error| format!("the server does not start: {error}"))?);
    let stdout = process.0.stdout.take().ok_or("the server's output is not piped")?;
    let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
    stdout.read_line(&mut line).map_err(|error| format!("the server's output cannot be read: {error}"))?;
    let address = line.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
    Ok((process, address.ok_or("the server does not say where it listens")?, stdout))
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].iter().map(|line| format!("\n  {line}")).collect()
}
