//! Field merges: the hybrid logical clock, stamps, and who wins.
//!
//! A field of a live row goes to the last writer by `(time, client, seq)`, and so does each element of a set; a counter
//! adds. All commute, so the rows do not depend on the order in which transactions arrive. Existence and references
//! follow the server's revisions instead.
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
    /// Elements that were put into a set since, or taken out: by column and element, ascending.
    pub elements: Vec<Element>,
    /// Stamps of fields that the schema does not have, as they stand in the text: a server of a later version may know them.
    pub unknown: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub column: u16,
    pub text: String,
    pub stamp: Stamp,
}

impl Clocks {
    pub fn created(stamp: Stamp) -> Clocks {
        Clocks { created: stamp, ..Clocks::default() }
    }

    /// Whether `stamp` may write `column`; notes it when it may. A stamp wins against itself, so that the second of two
    /// edits of one transaction counts.
    /// When anything of the row was last written, as far as that is known.
    pub fn latest(&self) -> Hlc {
        let fields = self.fields.iter().map(|(_, stamp)| stamp.at);
        let elements = self.elements.iter().map(|element| element.stamp.at);
        fields.chain(elements).chain([self.created.at]).max().unwrap_or_default()
    }

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

    /// Like [`Clocks::write`], for an element of a set. Whatever is done to one for the first time may be done: nobody could
    /// have meant the opposite before the row was there.
    pub fn write_element(&mut self, column: u16, text: &str, stamp: Stamp) -> bool {
        let found = self.elements.binary_search_by(|e| (e.column, e.text.as_str()).cmp(&(column, text)));
        match found {
            Ok(i) if self.elements[i].stamp > stamp => false,
            Ok(i) => {
                self.elements[i].stamp = stamp;
                true
            }
            Err(i) => {
                self.elements.insert(i, Element { column, text: text.to_string(), stamp });
                true
            }
        }
    }

    /// Forgets the oldest of too many elements that are in the set no more. `present` is sorted.
    pub fn forget_elements(&mut self, column: u16, present: &[String]) {
        let mut gone = Vec::new();
        for (at, element) in self.elements.iter().enumerate() {
            if element.column == column && present.binary_search(&element.text).is_err() {
                gone.push((element.stamp, at));
            }
        }
        let Some(excess) = gone.len().checked_sub(limits::SET_REMOVED).filter(|excess| *excess > 0) else { return };
        gone.select_nth_unstable(excess - 1);
        let mut oldest: Vec<usize> = gone[..excess].iter().map(|(_, at)| *at).collect();
        oldest.sort_unstable();
        let mut at = 0;
        self.elements.retain(|_| {
            at += 1;
            oldest.binary_search(&(at - 1)).is_err()
        });
    }

    /// A text for one database column: the creation's stamp, then by name `column=stamp` and, for elements of sets,
    /// `column:element=stamp`, separated by spaces.
    pub fn to_text(&self, name_of: impl Fn(u16) -> String) -> String {
        let mut out = String::new();
        write_stamp(self.created, &mut out);
        for (column, stamp) in &self.fields {
            out.push(' ');
            out.push_str(&name_of(*column));
            out.push('=');
            write_stamp(*stamp, &mut out);
        }
        for element in &self.elements {
            out.push(' ');
            out.push_str(&name_of(element.column));
            out.push(':');
            write_element(&element.text, &mut out);
            out.push('=');
            write_stamp(element.stamp, &mut out);
        }
        out.push_str(&self.unknown);
        out
    }

    /// Reads [`Clocks::to_text`]; what is said of columns that the schema does not have is kept as it is.
    pub fn from_text(text: &str, column_of: impl Fn(&str) -> Option<u16>) -> Option<Clocks> {
        let mut words = text.split(' ');
        let mut clocks = Clocks::created(parse_stamp(words.next()?)?);
        let mut unknown = String::new();
        for word in words {
            let (name, stamp) = word.split_once('=')?;
            let stamp = parse_stamp(stamp)?;
            let (name, element) = name.split_once(':').map_or((name, None), |(name, element)| (name, Some(element)));
            match (column_of(name), element) {
                (Some(column), Some(text)) => clocks.elements.push(Element { column, text: parse_element(text)?, stamp }),
                (Some(column), None) => clocks.fields.push((column, stamp)),
                (None, _) => {
                    unknown.push(' ');
                    unknown.push_str(word);
                }
            }
        }
        clocks.unknown = unknown.into();
        clocks.fields.sort_by_key(|f| f.0);
        clocks.elements.sort_by(|a, b| (a.column, &a.text).cmp(&(b.column, &b.text)));
        Some(clocks)
    }
}

/// Letters and digits as they are, every other byte as `%` and two hex digits.
fn write_element(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
}

fn parse_element(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, coded)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        bytes.push(u8::from_str_radix(coded.get(..2)?, 16).ok()?);
        rest = &coded[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
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
    fn i7_an_element_goes_to_the_last_who_put_it_in_or_took_it_out() {
        let mut clocks = Clocks::created(stamp(10, 1, 1));
        assert!(clocks.write_element(2, "a", stamp(9, 1, 1)), "nobody could have meant the opposite");
        assert!(clocks.write_element(2, "a", stamp(9, 1, 1)), "a stamp wins against itself");
        assert!(!clocks.write_element(2, "a", stamp(8, 1, 1)));
        assert!(clocks.write_element(2, "b", stamp(8, 1, 1)) && clocks.write_element(1, "a", stamp(8, 1, 1)));
        let places: Vec<_> = clocks.elements.iter().map(|e| (e.column, e.text.as_str())).collect();
        assert_eq!(places, [(1, "a"), (2, "a"), (2, "b")]);
    }

    #[test]
    fn i7_of_too_many_removed_elements_the_oldest_are_forgotten() {
        let mut clocks = Clocks::default();
        for n in 0..limits::SET_REMOVED as u64 + 3 {
            clocks.write_element(1, &format!("e{n}"), stamp(n, 1, 1));
        }
        clocks.write_element(2, "other", stamp(0, 0, 0));
        clocks.forget_elements(1, &["e0".to_string()]);
        let held = |text: &str| clocks.elements.iter().any(|e| e.text == text);
        assert_eq!(clocks.elements.len(), limits::SET_REMOVED + 2);
        assert_eq!(["e0", "e1", "e2", "e3", "other"].map(held), [true, false, false, true, true]);
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
        let fields = vec![(0, stamp(5, 6, 7)), (2, stamp(0, 0, 0))];
        let mut clocks = Clocks { created: stamp(1 << 60, u64::MAX, 7), fields, ..Clocks::default() };
        for (i, text) in ["", "to do", "a=b:c%20 d", "ü\n\u{1F600}", "%", "%zz"].into_iter().enumerate() {
            assert!(clocks.write_element(i as u16 % 3, text, stamp(i as u64, 1, 2)));
        }
        let text = clocks.to_text(|c| format!("c{c}"));
        let back = Clocks::from_text(&text, |name| name.strip_prefix('c')?.parse().ok());
        assert_eq!(back, Some(clocks));
    }

    #[test]
    fn i7_stamps_of_fields_that_are_not_known_are_written_as_they_were_read() {
        let text = "5.0000000000000006.7 color=9.0000000000000001.2 title=8.0000000000000001.1 tags:a%20b=9.0000000000000001.3";
        let clocks = Clocks::from_text(text, |name| (name == "title").then_some(0)).unwrap();
        let written = clocks.to_text(|_| "title".to_string());
        let words = |text: &str| text.split(' ').map(str::to_string).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(words(&written), words(text));
    }
}
