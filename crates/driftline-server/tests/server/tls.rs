//! The way to PostgreSQL: encrypted or not, and to whom.

use crate::cluster::{Cluster, command, is_root};
use crate::world::{SCHEMA, World};
use driftline_server::Place;
use driftline_server::db::DbError;
use driftline_server::db::tls::{Connector, ROOT_CERT};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::sleep;
use tokio_postgres::{Client, Config};

const IS_ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// PostgreSQL that listens on a port of this machine too.
struct Listening {
    cluster: Cluster,
    port: u16,
}

impl Listening {
    /// With TLS it shows `server.pem`, which signs itself; `other.pem` has nothing to do with it.
    fn start(has_tls: bool) -> Listening {
        let cluster = Cluster::start();
        ["server", "other"].iter().for_each(|name| certify(&cluster.folder, name));
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(cluster.folder.join("server.key")).status().unwrap().success());
        }
        let port = (0..10).map(|_| free_port()).find(|port| restart(&cluster, *port, has_tls));
        let port = port.unwrap_or_else(|| panic!("PostgreSQL does not listen: see {}", cluster.folder.join("data/log").display()));
        Listening { cluster, port }
    }

    /// The same database by its socket.
    fn place(&self) -> Place {
        let config = format!("host={} port={} user=postgres dbname=postgres", self.cluster.folder.display(), self.port);
        Place::Postgres(Box::new(config.parse().unwrap()))
    }

    async fn connect(&self, mode: &str, roots: Option<&str>) -> Result<Client, String> {
        let config = format!("host=127.0.0.1 port={} user=postgres dbname=postgres sslmode={mode}", self.port);
        let config: Config = config.parse().unwrap();
        let roots = roots.map(|name| self.cluster.folder.join(name));
        let connector = Connector::new(config.get_ssl_mode(), roots.as_deref())?;
        let (client, connection) = config.connect(connector).await.map_err(|e| DbError::from(e).to_string())?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Whether a connection that the server itself makes by a URL is encrypted. One that requires it reads the roots from the environment,
    /// and so is for a process of its own.
    fn encrypts(&self, end_of_url: &str) -> bool {
        let place: Place = format!("postgres://postgres@127.0.0.1:{}/postgres{end_of_url}", self.port).parse().unwrap();
        place.connect().unwrap().one(IS_ENCRYPTED, &[], |row| row.bool(0)).unwrap()
    }

    async fn refusal(&self, mode: &str, roots: Option<&str>) -> String {
        self.connect(mode, roots).await.map(|_| ()).unwrap_err()
    }

    /// A subcommand of the binary, at a URL that requires TLS.
    fn driftline(&self, words: &[&str], world: &World, roots: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
        command.args(words).arg("--schema").arg(&world.config.schema).arg("--migrations").arg(&world.config.migrations);
        command.arg("--data").arg(format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=require", self.port));
        command.env(ROOT_CERT, self.cluster.folder.join(roots));
        command
    }
}

/// A certificate for 127.0.0.1 that signs itself, and its key.
fn certify(folder: &Path, name: &str) {
    let subject = format!("/CN={name}");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", &subject]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(folder.join(format!("{name}.key"))).arg("-out").arg(folder.join(format!("{name}.pem")));
    let made = openssl.output().expect("there is no openssl here: install it (on Debian, `apt install openssl`)");
    assert!(made.status.success(), "{made:?}");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `false` where somebody else has taken the port.
fn restart(cluster: &Cluster, port: u16, has_tls: bool) -> bool {
    let (at, pg, ssl) = (cluster.folder.display(), command("pg_ctl"), if has_tls { "on" } else { "off" });
    let options = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={at} -c max_connections=200 -c fsync=off \
         -c ssl={ssl} -c ssl_cert_file={at}/server.pem -c ssl_key_file={at}/server.key"
    );
    let script = format!("cd /; {pg} -D {at}/data -s -w -m fast -l {at}/data/log -o \"{options}\" restart >/dev/null 2>&1");
    Command::new("sh").args(["-c", &script]).status().unwrap().success()
}

async fn is_encrypted(client: &Client) -> bool {
    client.query_one(IS_ENCRYPTED, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_the_way_to_postgresql_is_encrypted_as_the_url_says() {
    let server = Listening::start(true);
    for (mode, roots, encrypted) in [("require", Some("server.pem"), true), ("prefer", None, true), ("disable", None, false)] {
        let client = server.connect(mode, roots).await.unwrap();
        assert_eq!(is_encrypted(&client).await, encrypted, "{mode}");
    }
    for (end_of_url, encrypted) in [("?sslmode=prefer", true), ("", true), ("?sslmode=disable", false)] {
        assert_eq!(server.encrypts(end_of_url), encrypted, "{end_of_url}");
    }
    // One root too few, and none of this kind among those that browsers trust.
    for roots in [Some("other.pem"), None] {
        let refusal = server.refusal("require", roots).await;
        assert!(refusal.contains("invalid peer certificate: UnknownIssuer"), "{refusal}");
    }
    for (roots, why) in [("gone.pem", "gone.pem"), ("other.key", "there is none in it")] {
        let refusal = server.refusal("require", Some(roots)).await;
        assert!(refusal.contains(ROOT_CERT) && refusal.contains(why), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_a_postgresql_without_tls_is_spoken_to_unless_tls_is_required() {
    let server = Listening::start(false);
    assert!(!is_encrypted(&server.connect("prefer", None).await.unwrap()).await);
    let refusal = server.refusal("require", Some("server.pem")).await;
    assert!(refusal.contains("server does not support TLS"), "{refusal}");
    assert!(!server.encrypts("?sslmode=prefer") && !server.encrypts(""));
    let world = World::at(tempfile::tempdir().unwrap(), server.place(), SCHEMA);
    let status = server.driftline(&["migrate", "status"], &world, "server.pem").output().unwrap();
    let said = String::from_utf8_lossy(&status.stderr);
    assert_eq!(status.status.code(), Some(2), "{said}");
    assert!(said.contains("server_database") && said.contains("server does not support TLS"), "{said}");
}

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_all_connections_of_a_server_are_encrypted_where_the_url_requires_it() {
    let server = Listening::start(true);
    let world = World::at(tempfile::tempdir().unwrap(), server.place(), SCHEMA);
    let status = |roots: &str| server.driftline(&["migrate", "status"], &world, roots).output().unwrap();
    assert_eq!(status("server.pem").status.code(), Some(0));
    let refused = status("other.pem");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("server_database") && said.contains("invalid peer certificate: UnknownIssuer"), "{said}");

    let mut serve = server.driftline(&["serve", "--listen", "127.0.0.1:0"], &world, "server.pem");
    let mut serving = Serving(serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(serving.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    let count = |which: &str| {
        let from = "FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE client_addr IS NOT NULL";
        world.count(&format!("SELECT count(*) {from} AND {which}"))
    };
    // The connection for notes comes last, and is made by itself.
    for _ in 0..400 {
        if count("query LIKE 'LISTEN%'") >= 1 && count("NOT ssl") == 0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(count("query LIKE 'LISTEN%'") >= 1);
    assert_eq!(count("NOT ssl"), 0);
    assert!(count("ssl") >= 17, "{}", count("ssl"));
}
