//! Every limit, its unit last in the name, its reason beside it.

/// A body that a proxy with common defaults may still refuse is answered 413 and halved by the client.
pub const PUSH_BYTES: usize = 4 * 1024 * 1024;
/// Bounds the working set that one decision loads.
pub const PUSH_TXNS: usize = 1_000;
/// More tabs than anyone keeps open at once; the sender takes further ones in turn.
pub const PUSH_CLIENTS: usize = 64;
/// A client merges what it can; past this its gaps wait for the next push.
pub const CLOSED_RANGES: usize = 1_000;
/// Of a client, kept by the server. What is closed beyond them is remembered by its marks and the log.
pub const CLOSED_RANGES_KEPT: usize = 10_000;
/// As many as a push holds transactions: an `after` beyond the push is answered `held` anyway.
pub const AFTER_KEYS: usize = 1_000;
/// Keys under which a transaction stood before: of one about which more was decided, the latest are told.
pub const REPLACED_KEYS: usize = 8;
/// A transaction is applied as a whole, so it must fit the smallest batch.
pub const TXN_EDITS: usize = 1_000;
/// Leaves room for the envelope in the smallest body a server may allow (1 MiB and a little).
pub const TXN_BYTES: usize = 1024 * 1024;
/// Default for a text field that names no `max_chars`.
pub const TEXT_CHARS: usize = 65_536;
/// A JSON value is a detail of a row, not a document.
pub const JSON_BYTES: usize = 262_144;
/// Deeper values are refused before anything recurses over them.
pub const JSON_DEPTH: usize = 64;
/// Rows that one push may delete and null beside those it names. What hangs on a row beyond that goes in the background, so that
/// deleting a parent of 100,000 is answered as soon as deleting one of 10.
pub const DELETE_ROWS: usize = 2_000;
/// Beyond 2^53 - 1 JavaScript rounds.
pub const INT_MAX: i64 = 9_007_199_254_740_991;
/// Elements of a set: it is read and written whole.
pub const SET_ELEMENTS: usize = 1_000;
/// An element is a name, not a text.
pub const SET_ELEMENT_CHARS: usize = 200;
/// Removed elements whose stamps a row keeps, so that an insert that was long on its way does not bring them back.
pub const SET_REMOVED: usize = 1_000;
/// Twenty digits are plenty until thousands insert at one place.
pub const POSITION_CHARS: usize = 200;
/// Texts kept because they could not be merged. More than that nobody sorts out.
pub const CONFLICTS: usize = 20;
/// Tables of a schema: their index is kept in 16 bits, and nobody writes a thousand.
pub const SCHEMA_TABLES: usize = 1_000;
/// Columns of a table: SQLite allows 2,000 and every row is written whole.
pub const TABLE_COLUMNS: usize = 500;
/// A space's name stands in URLs and in lock names.
pub const SPACE_NAME_CHARS: usize = 64;
/// Revisions in one answer.
pub const CHANGES_REVISIONS: usize = 2_000;
/// Bytes of changes in one answer, roughly: the revision that crosses it is still sent whole.
pub const CHANGES_BYTES: usize = 2 * 1024 * 1024;
/// A clock further ahead than this is clamped, so that one wrong clock cannot win for ever.
pub const CLOCK_AHEAD_MS: u64 = 60_000;

/// Whether a space may be called this: `A-Z a-z 0-9 _ . -`, 1 to 64 of them, and not `.` or `..`, which lead elsewhere in an address.
pub fn is_space_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= SPACE_NAME_CHARS
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
