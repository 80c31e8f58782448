//! Dedupe: is this transaction fresh, a repeat, another under the same key, or older than any memory?
//!
//! A client's sequence numbers are not settled in order: one that is parked stays behind while later ones pass. So what
//! is over is kept as ranges, and a gap stays a gap whatever comes after it.

use crate::digest::made_together;
use crate::json::Json;
use crate::reconcile::mix;
use crate::value::{parse_hex64, write_uint};

/// The ids with this bit are not drawn but worked out, and nobody owns their numbers: none of them is ever closed.
const SHARED: u64 = 0x8000_0000_0000_0000;

/// The client under which all copies of a profile send a transaction whose own key another copy has used for something else.
pub fn shared_client(client: u64) -> u64 {
    mix(client) | SHARED
}

pub fn is_shared(client: u64) -> bool {
    client & SHARED != 0
}

/// A client id of one's own, from a random number.
pub fn own_client(random: u64) -> u64 {
    random & !SHARED
}

/// A set of numbers as disjoint inclusive ranges, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub fn contains(&self, n: u64) -> bool {
        let after = self.0.partition_point(|r| r.0 <= n);
        after > 0 && self.0[after - 1].1 >= n
    }

    /// Adds `from..=to`; an empty range adds nothing.
    pub fn add(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        // Neighbours are joined, so the first that matters ends at `from - 1` or later.
        let first = self.0.partition_point(|r| r.1.saturating_add(1) < from);
        let after = self.0.partition_point(|r| r.0 <= to.saturating_add(1));
        let mut joined = (from, to);
        for range in &self.0[first..after] {
            joined = (joined.0.min(range.0), joined.1.max(range.1));
        }
        self.0.splice(first..after, [joined]);
    }

    pub fn add_all(&mut self, other: &Ranges) {
        for (from, to) in &other.0 {
            self.add(*from, *to);
        }
    }

    /// `1..=high` without the numbers of an ascending list.
    pub fn all_but(high: u64, without: &[u64]) -> Ranges {
        let mut ranges = Ranges::default();
        let mut from = 1;
        for n in without {
            if *n > high {
                break;
            }
            ranges.add(from, n - 1);
            from = n + 1;
        }
        ranges.add(from, high);
        ranges
    }

    /// Keeps the lowest `count` ranges: leaving one out only delays the moment when it is forgotten.
    pub fn truncate(&mut self, count: usize) {
        self.0.truncate(count);
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn write_json(&self, out: &mut String) {
        out.push('[');
        for (i, (from, to)) in self.0.iter().enumerate() {
            out.push_str(if i > 0 { ",[" } else { "[" });
            write_uint(*from, out);
            out.push(',');
            write_uint(*to, out);
            out.push(']');
        }
        out.push(']');
    }

    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    pub fn from_json(json: &Json) -> Option<Ranges> {
        let mut ranges = Ranges::default();
        for pair in json.as_list()? {
            let (from, to) = (pair.at(0)?.as_u64()?, pair.at(1)?.as_u64()?);
            if from == 0 || from > to || pair.as_list()?.len() != 2 {
                return None;
            }
            ranges.add(from, to);
        }
        Some(ranges)
    }
}

/// What a server remembers of one client of one principal in one space.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientState {
    /// What others see instead of the client's id; counts from 1 in a space.
    pub actor: u32,
    /// The highest epoch of a sender.
    pub epoch: u64,
    pub receipts: Receipts,
    pub closed: Ranges,
}

/// The two receipts that tell a lost answer from a copied profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipts {
    pub current: Option<u64>,
    pub previous: Option<u64>,
}

impl Receipts {
    /// Takes a request's echo. `false` means that it comes from a copy: then nothing changes.
    ///
    /// A repeat of the previous echo gets the current receipt again and not a new one, so that a request doubled on
    /// the way cannot make its sender look like a copy.
    pub fn echo(&mut self, echoed: Option<u64>, fresh: u64) -> bool {
        if echoed == self.current {
            *self = Receipts { current: Some(fresh), previous: echoed };
            return true;
        }
        echoed == self.previous
    }
}

/// The answer to a settled key: kept as sent, so that a repeat gets the first answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub hash: u128,
    pub applied: bool,
    /// The members of an outcome after its key, as JSON.
    pub outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Fresh,
    Repeat(Settled),
    /// The key stands for another transaction.
    Conflict,
    /// Closed, and the log no longer tells; or the key stands for this transaction, as it was said otherwise.
    Unknown,
}

/// Judges a key by what is remembered of it: `settled` is its mark, `logged` its place in the log.
pub fn judge(hash: u128, closed: bool, settled: Option<&Settled>, logged: Option<(u128, u64)>) -> Verdict {
    match (settled, logged) {
        (Some(settled), _) if settled.hash == hash => Verdict::Repeat(settled.clone()),
        // What was said before was not all of this, or more: neither may it be applied again nor dropped.
        (Some(settled), _) if made_together(settled.hash, hash) => Verdict::Unknown,
        (Some(_), _) => Verdict::Conflict,
        (None, Some((logged, rev))) if logged == hash => {
            Verdict::Repeat(Settled { hash, applied: true, outcome: applied_outcome(rev, "[]") })
        }
        (None, Some((logged, _))) if made_together(logged, hash) => Verdict::Unknown,
        (None, Some(_)) => Verdict::Conflict,
        (None, None) if closed => Verdict::Unknown,
        (None, None) => Verdict::Fresh,
    }
}

pub fn applied_outcome(rev: u64, notices: &str) -> String {
    format!("\"outcome\":\"applied\",\"rev\":{rev},\"notices\":{notices}")
}

/// A client's id or a receipt on the wire.
pub fn read_id(json: Option<&Json>) -> Option<u64> {
    parse_hex64(json?.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::body_hash;

    fn ranges(pairs: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::default();
        pairs.iter().for_each(|p| ranges.add(p.0, p.1));
        ranges
    }

    #[test]
    fn d5_an_id_of_ones_own_is_never_one_that_copies_share() {
        for random in (0..64).chain([u64::MAX, 1 << 63]) {
            assert!(is_shared(shared_client(random)) && !is_shared(own_client(random)), "{random:x}");
            assert_eq!((own_client(random) << 1, shared_client(random) << 1), (random << 1, mix(random) << 1));
        }
    }

    #[test]
    fn ranges_join_and_hold() {
        assert_eq!(ranges(&[(5, 6), (1, 2), (3, 4)]), ranges(&[(1, 6)]));
        assert_eq!(ranges(&[(1, 2), (4, 5), (9, 9), (3, 20)]).0, [(1, 20)]);
        let some = ranges(&[(1, 2), (5, 5)]);
        let held: Vec<u64> = (0..8).filter(|n| some.contains(*n)).collect();
        assert_eq!(held, [1, 2, 5]);
        assert_eq!(Ranges::all_but(9, &[3, 4, 8, 12]).0, [(1, 2), (5, 7), (9, 9)]);
        assert_eq!(Ranges::all_but(0, &[]), Ranges::default());
        assert!(some.iter().eq([(1, 2), (5, 5)]) && !some.is_empty() && Ranges::default().is_empty());
        assert_eq!(Ranges::from_json(&Json::parse(&some.to_json()).unwrap()), Some(some));
        for text in ["[[0,1]]", "[[3,2]]", "[[1,2,3]]", "[[1]]", "[1]", "{}"] {
            assert_eq!(Ranges::from_json(&Json::parse(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn d4_of_too_many_ranges_the_lowest_are_told() {
        let mut some = ranges(&[(1, 2), (4, 4), (6, 9)]);
        some.truncate(2);
        assert_eq!(some, ranges(&[(1, 2), (4, 4)]));
    }

    #[test]
    fn d4_a_gap_stays_a_gap() {
        let closed = ranges(&[(1, 4), (6, 1_000_000)]);
        assert_eq!(judge(7, closed.contains(5), None, None), Verdict::Fresh);
        assert_eq!(judge(7, closed.contains(6), None, None), Verdict::Unknown);
        assert_eq!(closed.len(), 2);
    }

    #[test]
    fn d5_the_same_key_with_another_body_is_a_conflict() {
        let [first, other] = [7, 8].map(|ms| body_hash(&format!("{{\"schema\":1,\"at\":[{ms},0],\"edits\":[]}}")));
        let settled = Settled { hash: first, applied: true, outcome: "x".into() };
        assert_eq!(judge(first, false, Some(&settled), None), Verdict::Repeat(settled.clone()));
        assert_eq!(judge(other, false, Some(&settled), None), Verdict::Conflict);
        assert_eq!(judge(other, true, None, Some((first, 9))), Verdict::Conflict);
        let logged = Settled { hash: first, applied: true, outcome: applied_outcome(9, "[]") };
        assert_eq!(judge(first, true, None, Some((first, 9))), Verdict::Repeat(logged));
    }

    #[test]
    fn d5_the_same_transaction_said_otherwise_is_for_the_user() {
        let before = body_hash("{\"schema\":1,\"at\":[7,0],\"edits\":[]}");
        let folded = body_hash("{\"schema\":1,\"at\":[9,2],\"made\":[7,0],\"edits\":[{\"op\":\"delete\"}]}");
        let settled = Settled { hash: before, applied: true, outcome: "x".into() };
        assert_eq!(judge(folded, false, Some(&settled), None), Verdict::Unknown);
        assert_eq!(judge(folded, true, None, Some((before, 9))), Verdict::Unknown);
        assert_eq!(judge(before, false, Some(&settled), None), Verdict::Repeat(settled.clone()));
    }

    #[test]
    fn d5_receipts_tell_a_copy_from_a_lost_answer() {
        let mut server = Receipts::default();
        assert!(server.echo(None, 11));
        assert!(server.echo(None, 12), "the first answer was lost");
        assert_eq!(server.current, Some(11), "and comes again");
        assert!(server.echo(Some(11), 13));
        assert!(server.echo(Some(11), 14) && server.current == Some(13), "doubled on the way");
        assert!(server.echo(Some(13), 15));
        assert!(!server.echo(Some(11), 16), "a copy that stayed behind");
        assert_eq!(server, Receipts { current: Some(15), previous: Some(13) });
    }
}
