//! Field merges: the hybrid logical clock, stamps, and who wins.
//!
//! A field of a live row goes to the last writer by `(time, client, seq)`; a counter adds. Both commute, so the rows do
//! not depend on the order in which transactions arrive. Existence and references follow the server's revisions instead.
//! The clock is that of Kulkarni et al., "Logical Physical Clocks" (2014).

use crate::limits;
use crate::value::write_hex64;

/// Milliseconds since 1970 in the upper 48 bits, a count in the lower 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Hlc(pub u64);

impl Hlc {
    pub fn new(ms: u64, count: u64) -> Hlc {
        Hlc(ms << 16 | (count & 0xffff))
    }

    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    pub fn count(self) -> u64 {
        self.0 & 0xffff
    }

    /// The next time that this clock shows: later than all it has seen, and not behind the wall.
    pub fn next(&mut self, now_ms: u64) -> Hlc {
        // The sum carries a full count into the milliseconds.
        *self = Hlc((self.0 + 1).max(Hlc::new(now_ms, 0).0));
        *self
    }

    /// A time too far ahead of the wall is brought down, never refused.
    pub fn clamped(self, now_ms: u64) -> Hlc {
        self.min(Hlc::new(now_ms + limits::CLOCK_AHEAD_MS, 0))
    }
}

/// When and by whom a field was written. Ordered as the last writer is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp {
    pub at: Hlc,
    pub client: u64,
    pub seq: u64,
}

/// The stamps of a row: one for its creation, and one for each field written since. Empty on a client, which leaves
/// the choice to the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clocks {
    pub created: Stamp,
    /// By column, ascending.
    pub fields: Vec<(u16, Stamp)>,
}

impl Clocks {
    pub fn created(stamp: Stamp) -> Clocks {
        Clocks { created: stamp, fields: Vec::new() }
    }

    /// Whether `stamp` may write `column`; notes it when it may. A stamp wins against itself, so that the second of two
    /// edits of one transaction counts.
    pub fn write(&mut self, column: u16, stamp: Stamp) -> bool {
        match self.fields.binary_search_by_key(&column, |f| f.0) {
            Ok(i) if self.fields[i].1 > stamp => false,
            Ok(i) => {
                self.fields[i].1 = stamp;
                true
            }
            Err(_) if self.created > stamp => false,
            Err(i) => {
                self.fields.insert(i, (column, stamp));
                true
            }
        }
    }

    /// A text for one database column: the creation's stamp, then `column=stamp` by name, separated by spaces.
    pub fn to_text(&self, name_of: impl Fn(u16) -> String) -> String {
        let mut out = String::new();
        write_stamp(self.created, &mut out);
        for (column, stamp) in &self.fields {
            out.push(' ');
            out.push_str(&name_of(*column));
            out.push('=');
            write_stamp(*stamp, &mut out);
        }
        out
    }

    /// Reads [`Clocks::to_text`]; columns that the schema no longer has are dropped.
    pub fn from_text(text: &str, column_of: impl Fn(&str) -> Option<u16>) -> Option<Clocks> {
        let mut words = text.split(' ');
        let mut clocks = Clocks::created(parse_stamp(words.next()?)?);
        for word in words {
            let (name, stamp) = word.split_once('=')?;
            if let Some(column) = column_of(name) {
                clocks.fields.push((column, parse_stamp(stamp)?));
            }
        }
        clocks.fields.sort_by_key(|f| f.0);
        Some(clocks)
    }
}

fn write_stamp(stamp: Stamp, out: &mut String) {
    out.push_str(&format!("{:x}.", stamp.at.0));
    write_hex64(stamp.client, out);
    out.push_str(&format!(".{:x}", stamp.seq));
}

fn parse_stamp(text: &str) -> Option<Stamp> {
    let mut parts = text.split('.').map(|part| u64::from_str_radix(part, 16).ok());
    Some(Stamp { at: Hlc(parts.next()??), client: parts.next()??, seq: parts.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(at: u64, client: u64, seq: u64) -> Stamp {
        Stamp { at: Hlc(at), client, seq }
    }

    #[test]
    fn i7_the_last_writer_wins_by_time_then_client_then_sequence() {
        let mut clocks = Clocks::created(stamp(10, 1, 1));
        assert!(!clocks.write(0, stamp(9, 9, 9)), "older than the row");
        assert!(clocks.write(0, stamp(11, 1, 2)));
        assert!(!clocks.write(0, stamp(11, 1, 1)));
        assert!(clocks.write(0, stamp(11, 2, 1)));
        assert!(clocks.write(3, stamp(10, 1, 1)), "a stamp wins against itself");
    }

    #[test]
    fn i7_a_clock_far_ahead_is_clamped() {
        assert_eq!(Hlc::new(100_000, 3).clamped(50_000), Hlc::new(100_000, 3));
        assert_eq!(Hlc::new(200_000, 3).clamped(50_000), Hlc::new(110_000, 0));
    }

    #[test]
    fn the_clock_never_steps_back_and_follows_the_wall() {
        let mut clock = Hlc::new(1_000, 0xffff);
        assert_eq!(clock.next(900), Hlc::new(1_001, 0));
        assert_eq!(clock.next(5_000), Hlc::new(5_000, 0));
        assert_eq!(clock.next(5_000), Hlc::new(5_000, 1));
    }

    #[test]
    fn clocks_read_back_as_written() {
        let clocks = Clocks { created: stamp(1 << 60, u64::MAX, 7), fields: vec![(0, stamp(5, 6, 7)), (2, stamp(0, 0, 0))] };
        let text = clocks.to_text(|c| format!("c{c}"));
        let back = Clocks::from_text(&text, |name| name.strip_prefix('c')?.parse().ok());
        assert_eq!(back, Some(clocks));
    }
}
