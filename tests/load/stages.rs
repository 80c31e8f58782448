//! What is done one after the other: clients enter, idle, make edits, and come to rest.

use crate::crowd::{Crowd, ENTER_PER_S, Phase};
use crate::histogram::Histogram;
use crate::options::Options;
use crate::report::{Memory, Report, milliseconds};
use crate::rest::settle;
use crate::server::Server;
use crate::soak::Soak;
use crate::tally::{Kind, lock};
use crate::usage::Usage;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::time::{interval, sleep};

/// Beyond their turns, clients have so long to be let in.
const ENTER_S: f64 = 60.0;
/// The server's memory is looked at when everybody is there, and nobody has done anything yet.
const IDLE: Duration = Duration::from_secs(3);
const SECOND: Duration = Duration::from_secs(1);
const TELL_EVERY_S: u64 = 5;
const SOAK_EVERY_S: u64 = 10;

/// `before`: of the server, without clients.
pub async fn run(options: &Options, server: &mut Server, crowd: &Crowd, before: Usage) -> Result<Report, String> {
    enter(options, server, crowd).await?;
    sleep(IDLE).await;
    let connected = Usage::of(server.pid());
    let edited = edit(options, server, crowd).await?;
    crowd.enter(Phase::Rest);
    println!("no more edits are made; {} transactions wait", crowd.waiting());
    let settled = settle(server, crowd).await?;
    let end = Usage::of(server.pid());
    let memory = Memory {
        before_kib: before.rss_kib,
        connected_kib: connected.rss_kib,
        steady_kib: edited.steady_kib,
        end_kib: end.rss_kib,
        peak_kib: end.peak_kib,
    };
    let Edited { began, ended, soak, .. } = edited;
    let tally = &crowd.shared.tally;
    Ok(Report {
        clients: options.clients,
        spaces: options.spaces,
        rate: options.rate,
        seed: options.seed,
        seconds: ended.at.duration_since(began.at).as_secs_f64(),
        made: ended.made,
        accepted: ended.accepted,
        accepted_in_the_end: tally.accepted.load(Relaxed),
        pushes: ended.pushes - began.pushes,
        overtaken: crowd.close_boards(),
        times: crowd.times(),
        late: lock(&tally.late).clone(),
        memory,
        server_cpu_s: ended.server.cpu_s - began.server.cpu_s,
        load_cpu_s: ended.load.cpu_s - began.load.cpu_s,
        errors: tally.of(Kind::Error),
        unmade: tally.of(Kind::Unmade),
        parked: tally.of(Kind::Parked),
        notices: tally.of(Kind::Notice),
        faults: tally.of(Kind::Fault),
        settled,
        soak,
    })
}

/// Waits until every client has its space and is live.
async fn enter(options: &Options, server: &mut Server, crowd: &Crowd) -> Result<(), String> {
    let began = Instant::now();
    let patience = Duration::from_secs_f64(options.clients as f64 / ENTER_PER_S + ENTER_S);
    let mut told = began;
    loop {
        server.check()?;
        let (live, seconds) = (crowd.shared.tally.connected.load(Relaxed), began.elapsed().as_secs_f64());
        if live == options.clients {
            println!("{live} clients in {} spaces are live after {seconds:.1} s", options.spaces);
            return Ok(());
        }
        if began.elapsed() > patience {
            let errors = crowd.shared.tally.of(Kind::Error);
            return Err(format!("{live} of {} clients are live after {seconds:.0} s; errors: {errors:?}", options.clients));
        }
        if told.elapsed().as_secs() >= TELL_EVERY_S {
            told = Instant::now();
            println!("{seconds:>6.0} s: {live} clients are live");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

struct Edited {
    began: Reading,
    ended: Reading,
    /// The mean over the second half.
    steady_kib: u64,
    soak: Option<Soak>,
}

async fn edit(options: &Options, server: &mut Server, crowd: &Crowd) -> Result<Edited, String> {
    let began = Reading::take(server, crowd);
    crowd.enter(Phase::Edit { since: began.at });
    let (mut last, mut soak) = (began.clone(), options.soak.then(|| Soak::new(server.database.as_deref())));
    let mut rss_kib = Vec::new();
    let mut seconds = interval(SECOND);
    // The first tick comes at once.
    seconds.tick().await;
    for second in 1..=options.seconds {
        seconds.tick().await;
        server.check()?;
        let usage = Usage::of(server.pid());
        rss_kib.push(usage.rss_kib);
        if let Some(soak) = &mut soak {
            if second % SOAK_EVERY_S == 0 {
                let made = crowd.shared.tally.made.load(Relaxed);
                println!("{}", soak.look(began.at.elapsed().as_secs_f64(), made, usage.rss_kib));
            }
        } else if second % TELL_EVERY_S == 0 {
            let present = Reading::take(server, crowd);
            println!("{}", present.line(&began, &last, crowd));
            last = present;
        }
    }
    let half = &rss_kib[rss_kib.len() / 2..];
    let steady_kib = half.iter().sum::<u64>() / half.len().max(1) as u64;
    Ok(Edited { began, ended: Reading::take(server, crowd), steady_kib, soak })
}

/// How things stand at a moment.
#[derive(Clone)]
struct Reading {
    at: Instant,
    made: u64,
    accepted: u64,
    pushes: u64,
    times: Histogram,
    server: Usage,
    load: Usage,
}

impl Reading {
    fn take(server: &Server, crowd: &Crowd) -> Reading {
        let tally = &crowd.shared.tally;
        Reading {
            at: Instant::now(),
            made: tally.made.load(Relaxed),
            accepted: tally.accepted.load(Relaxed),
            pushes: tally.pushes.load(Relaxed),
            times: crowd.times(),
            server: Usage::of(server.pid()),
            load: Usage::of("self"),
        }
    }

    /// What has happened since the last.
    fn line(&self, first: &Reading, last: &Reading, crowd: &Crowd) -> String {
        let seconds = self.at.duration_since(last.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let each_s = |now: u64, then: u64| (now - then) as f64 / seconds;
        let times = self.times.since(&last.times);
        format!(
            "{:>6.0} s: {:.0} made/s, {:.0} accepted/s, shown after {} (p50) {} (p99), {} wait, {} errors; server {:.0} MiB {:.2} cores, load {:.2} cores",
            self.at.duration_since(first.at).as_secs_f64(),
            each_s(self.made, last.made),
            each_s(self.accepted, last.accepted),
            milliseconds(times.quantile_us(0.5)),
            milliseconds(times.quantile_us(0.99)),
            crowd.waiting(),
            crowd.shared.tally.sum(Kind::Error),
            self.server.rss_kib as f64 / 1024.0,
            (self.server.cpu_s - last.server.cpu_s) / seconds,
            (self.load.cpu_s - last.load.cpu_s) / seconds,
        )
    }
}
