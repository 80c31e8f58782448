use clap::{Args, ValueEnum};
use driftline_server::{Claims, Role, Tokens};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// As long as the hash that it keys.
const SECRET_BYTES: usize = 32;

#[derive(Args)]
pub struct Token {
    /// The secret; it is made when the file does not exist.
    #[arg(long)]
    secret_file: PathBuf,
    /// Whom the token names.
    #[arg(long)]
    sub: String,
    /// A space that the token opens; may be given several times. `*` is all of them.
    #[arg(long, default_value = "*")]
    space: Vec<String>,
    #[arg(long, value_enum, default_value = "write")]
    role: RoleName,
    /// How long the token holds.
    #[arg(long, default_value_t = 24)]
    hours: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    Read,
    Write,
}

impl Token {
    pub fn run(self) -> Result<ExitCode, String> {
        if !self.secret_file.exists() {
            make_secret(&self.secret_file)?;
            eprintln!("driftline: made a new secret in {}", self.secret_file.display());
        }
        let tokens = Tokens::new(&read_secret(&self.secret_file)?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let role = match self.role {
            RoleName::Read => Role::Read,
            RoleName::Write => Role::Write,
        };
        let exp = now.saturating_add(self.hours.saturating_mul(3600));
        println!("{}", tokens.issue(&Claims { sub: self.sub, exp, spaces: self.space, role })?);
        Ok(ExitCode::SUCCESS)
    }
}

fn make_secret(path: &Path) -> Result<(), String> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|e| format!("no randomness from the system: {e}"))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(&secret)).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Reads a secret that nobody else on this machine can read.
pub fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |e: std::io::Error| format!("cannot read the secret {}: {e}; `driftline token` makes one", path.display());
    let mode = std::fs::metadata(path).map_err(cannot)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("others can read the secret {}; run: chmod 600 {0}", path.display()));
    }
    let secret = std::fs::read(path).map_err(cannot)?;
    if secret.len() < SECRET_BYTES {
        return Err(format!("the secret {} is shorter than {SECRET_BYTES} bytes", path.display()));
    }
    Ok(secret)
}
