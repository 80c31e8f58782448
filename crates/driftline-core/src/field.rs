//! How an edit is worked into what a field holds already: counters, texts and sets. Client and server run this same code.
//!
//! Whatever the order in which edits arrive, a counter comes to the same sum and a set to the same elements. A text takes what
//! does not overlap; where edits do, one of the texts stands in the field, and the other is kept beside it.

use crate::edit::Merge;
use crate::json::Json;
use crate::limits;
use crate::merge::Stamp;
use crate::problem::Problem;
use crate::schema::{Kind, Table};
use crate::text::merge3;
use crate::value::{Row, Value, write_string};

/// Works an edit of one column into a row, and appends the columns that it wrote. Returns whether stamps decided against
/// it, or a part of it. `stamp` is a server's; without one the edit counts as the last, as its maker sees it.
///
/// An error leaves the row as one may show it, and not as one may keep it.
pub fn work_in(
    table: &Table,
    row: &mut Row,
    column: u16,
    merge: &Merge,
    stamp: Option<Stamp>,
    written: &mut Vec<u16>,
) -> Result<bool, Problem> {
    written.push(column);
    match (merge, &table.columns[column as usize].kind) {
        (Merge::Add(by), _) => {
            if let Value::Int(count) = &mut row.values[column as usize] {
                *count = (*count + by).clamp(-limits::INT_MAX, limits::INT_MAX);
            }
            Ok(false)
        }
        (Merge::Text { from, to }, Kind::Text { max_chars, conflicts: Some(kept) }) => {
            written.push(*kept);
            if from == to {
                return Ok(false);
            }
            let is_last = stamp.is_none_or(|stamp| row.clocks.write(column, stamp));
            let place = TextPlace { column, kept: *kept, max_chars: *max_chars, is_last };
            text(row, &place, from, to)
        }
        (Merge::Set { insert, remove }, Kind::Set) => elements(row, column, insert, remove, stamp),
        (Merge::Set { remove, .. }, Kind::Conflicts { .. }) => {
            let value = &mut row.values[column as usize];
            let mut list = texts(value);
            list.retain(|text| !remove.contains(text));
            *value = if list.is_empty() { Value::Null } else { list_of(&list) };
            Ok(false)
        }
        _ => Ok(false),
    }
}

struct TextPlace {
    column: u16,
    /// The column of the texts that lost.
    kept: u16,
    max_chars: usize,
    is_last: bool,
}

fn text(row: &mut Row, place: &TextPlace, from: &Value, to: &Value) -> Result<bool, Problem> {
    let value = &mut row.values[place.column as usize];
    let (base, theirs, mine) = (text_of(from), text_of(value), text_of(to));
    if theirs == base {
        *value = to.clone();
        return Ok(false);
    }
    if theirs == mine {
        // They may still differ in being null.
        let lost = !place.is_last && value != to;
        if place.is_last {
            *value = to.clone();
        }
        return Ok(lost);
    }
    let fits = |text: &String| text.len() <= place.max_chars || text.chars().count() <= place.max_chars;
    if let Some(merged) = merge3(base, theirs, mine).filter(fits) {
        *value = Value::Text(merged);
        return Ok(false);
    }
    let loser = if place.is_last { theirs } else { mine }.to_string();
    if place.is_last {
        *value = to.clone();
    }
    keep(&mut row.values[place.kept as usize], loser)?;
    Ok(!place.is_last)
}

/// Puts a text that lost among those kept for the user. Nothing to be seen is nothing to be kept.
fn keep(kept: &mut Value, text: String) -> Result<(), Problem> {
    let mut list = texts(kept);
    let Err(at) = list.binary_search(&text) else { return Ok(()) };
    if text.is_empty() {
        return Ok(());
    }
    list.insert(at, text);
    let longer = list_of(&list);
    let is_long = matches!(&longer, Value::Json(json) if json.len() > limits::JSON_BYTES);
    if list.len() > limits::CONFLICTS || (is_long && list.len() > 1) {
        return Err(Problem::new("conflicts_full", "too many texts that could not be merged are kept with this row: settle these first"));
    }
    *kept = longer;
    Ok(())
}

fn elements(row: &mut Row, column: u16, insert: &[String], remove: &[String], stamp: Option<Stamp>) -> Result<bool, Problem> {
    if insert.len().max(remove.len()) > limits::SET_ELEMENTS {
        return Err(Problem::new("set_full", "an edit puts at most 1,000 elements into a set, and takes as many out: split it"));
    }
    let mut list = texts(&row.values[column as usize]);
    let mut lost = false;
    for (elements, is_in) in [(insert, true), (remove, false)] {
        for element in elements {
            let found = list.binary_search(element);
            if let Some(stamp) = stamp
                && !row.clocks.write_element(column, element, stamp)
            {
                lost |= found.is_ok() != is_in;
                continue;
            }
            change_list(&mut list, element, is_in);
        }
    }
    if stamp.is_some() {
        row.clocks.forget_elements(column, &list);
    }
    if list.len() > limits::SET_ELEMENTS {
        return Err(Problem::new("set_full", "a set has at most 1,000 elements: remove some first"));
    }
    row.values[column as usize] = list_of(&list);
    Ok(lost)
}

/// What a set holds after an edit that nobody else's comes between.
pub fn with_elements(value: &Value, insert: &[String], remove: &[String]) -> Value {
    let mut list = texts(value);
    for element in insert {
        change_list(&mut list, element, true);
    }
    for element in remove {
        change_list(&mut list, element, false);
    }
    if value.is_null() && list.is_empty() { Value::Null } else { list_of(&list) }
}

/// Puts a text into a sorted list, or takes it out.
pub fn change_list(list: &mut Vec<String>, text: &str, is_in: bool) {
    match list.binary_search_by(|t| t.as_str().cmp(text)) {
        Err(at) if is_in => list.insert(at, text.to_string()),
        Ok(at) if !is_in => drop(list.remove(at)),
        _ => {}
    }
}

pub fn text_of(value: &Value) -> &str {
    if let Value::Text(text) = value { text } else { "" }
}

/// The texts of a list that [`list_of`] wrote, sorted.
pub fn texts(value: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    if let Value::Json(json) = value
        && let Json::List(items) = Json::parse_or_null(json)
    {
        for item in items {
            if let Json::Text(text) = item {
                texts.push(text.into_owned());
            }
        }
    }
    texts
}

/// A sorted list of texts, as a value.
pub fn list_of(texts: &[String]) -> Value {
    let mut out = String::from("[");
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(text, &mut out);
    }
    out.push(']');
    Value::Json(out)
}
