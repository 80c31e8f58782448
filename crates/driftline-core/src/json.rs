//! A tree of what a JSON text says, read by serde_json.
//!
//! `serde_json::Value` would do the same with a B-tree per object and costs three times the wasm. Members are sorted by
//! name, and of two of one name the later counts. Names and texts that stand in the text as they are stay there: the tree borrows.

use crate::value::{write_int, write_real, write_string, write_uint};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;

#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// Below zero.
    Int(i64),
    Uint(u64),
    Real(f64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<Member<'a>>),
}

/// A name and a value.
pub type Member<'a> = (Cow<'a, str>, Json<'a>);

impl<'a> Json<'a> {
    /// Reads a text; the error says where it stops being JSON.
    pub fn parse(text: &'a str) -> Result<Json<'a>, String> {
        serde_json::from_str(text).map_err(|error| format!("not JSON at line {}, column {}", error.line(), error.column()))
    }

    /// Reads a text, or takes it for `null` where it is not JSON.
    pub fn parse_or_null(text: &'a str) -> Json<'a> {
        Json::parse(text).unwrap_or(Json::Null)
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        let members = self.as_object()?;
        let at = members.binary_search_by(|member| (*member.0).cmp(name)).ok()?;
        Some(&members[at].1)
    }

    /// An object of these members, in any order.
    pub fn object(mut members: Vec<Member<'a>>) -> Json<'a> {
        members.sort_by(|a, b| a.0.cmp(&b.0));
        Json::Object(members)
    }

    /// A text of one's own.
    pub fn owned(text: String) -> Json<'a> {
        Json::Text(Cow::Owned(text))
    }

    /// A whole number.
    pub fn int(value: i64) -> Json<'a> {
        u64::try_from(value).map_or(Json::Int(value), Json::Uint)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.as_object().unwrap_or(&[]).binary_search_by(|member| (*member.0).cmp(name))
    }

    /// A member of an object, to change.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json<'a>> {
        let at = self.place(name).ok()?;
        if let Json::Object(members) = self { Some(&mut members[at].1) } else { None }
    }

    /// Sets a member of an object.
    pub fn put(&mut self, name: &str, value: Json<'a>) {
        let place = self.place(name);
        if let Json::Object(members) = self {
            match place {
                Ok(at) => members[at].1 = value,
                Err(at) => members.insert(at, (Cow::Owned(name.to_string()), value)),
            }
        }
    }

    /// Takes a member out of an object.
    pub fn take(&mut self, name: &str) -> Option<Json<'a>> {
        let at = self.place(name).ok()?;
        if let Json::Object(members) = self { Some(members.remove(at).1) } else { None }
    }

    /// The items of a list, to change; none where it is no list.
    pub fn items_mut(&mut self) -> &mut [Json<'a>] {
        if let Json::List(items) = self { items } else { &mut [] }
    }

    /// An item of a list.
    pub fn at(&self, index: usize) -> Option<&Json<'a>> {
        self.as_list()?.get(index)
    }

    /// A member's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// A member's whole number from 0 up.
    pub fn uint(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }

    /// Whether a member is `true`.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == Some(&Json::Bool(true))
    }

    /// A member's items; none where it is no list.
    pub fn list(&self, name: &str) -> &[Json<'a>] {
        self.get(name).and_then(Json::as_list).unwrap_or(&[])
    }

    pub fn is_null(&self) -> bool {
        *self == Json::Null
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Json::Bool(value) = self { Some(*value) } else { None }
    }

    pub fn as_u64(&self) -> Option<u64> {
        if let Json::Uint(value) = self { Some(*value) } else { None }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Json::Int(value) => Some(*value as f64),
            Json::Uint(value) => Some(*value as f64),
            Json::Real(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Json<'a>]> {
        if let Json::List(items) = self { Some(items) } else { None }
    }

    pub fn as_object(&self) -> Option<&[Member<'a>]> {
        if let Json::Object(members) = self { Some(members) } else { None }
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Json<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Json::Null => Json::Null,
            Json::Bool(value) => Json::Bool(value),
            Json::Int(value) => Json::Int(value),
            Json::Uint(value) => Json::Uint(value),
            Json::Real(value) => Json::Real(value),
            Json::Text(text) => Json::Text(owned(text)),
            Json::List(items) => Json::List(items.into_iter().map(Json::into_owned).collect()),
            Json::Object(members) => Json::Object(members.into_iter().map(|(name, value)| (owned(name), value.into_owned())).collect()),
        }
    }

    /// How deep lists and objects are nested.
    pub fn depth(&self) -> usize {
        match self {
            Json::List(items) => 1 + items.iter().map(Json::depth).max().unwrap_or(0),
            Json::Object(members) => 1 + members.iter().map(|member| member.1.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The text without spaces, in which equal values are equal bytes.
    pub fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Int(value) => write_int(*value, out),
            Json::Uint(value) => write_uint(*value, out),
            Json::Real(value) => write_real(*value, out),
            Json::Text(text) => write_string(text, out),
            Json::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Uint(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Real(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::owned(text.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let mut object: Vec<Member<'de>> = Vec::new();
        while let Some((Json::Text(name), value)) = members.next_entry()? {
            object.push((name, value));
        }
        if !object.is_sorted_by(|a, b| a.0 < b.0) {
            // Stable, and the last of one name to the front.
            object.reverse();
            object.sort_by(|a, b| a.0.cmp(&b.0));
            object.dedup_by(|a, b| a.0 == b.0);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        let mut out = String::new();
        Json::parse(text).unwrap().write(&mut out);
        out
    }

    #[test]
    fn equal_values_are_equal_bytes() {
        let text = r#" {"b": [1, -2, 2.50, 1e3, null], "a": {"z": "\u00fc\n", "y": true}, "b": [18446744073709551615]} "#;
        assert_eq!(rewritten(text), r#"{"a":{"y":true,"z":"ü\n"},"b":[18446744073709551615]}"#);
        assert_eq!(rewritten("[1, -2, 2.50, 1e3, -0.0, null, {}]"), "[1,-2,2.5,1000,0,null,{}]");
        assert_eq!(rewritten(&rewritten(text)), rewritten(text));
    }

    #[test]
    fn members_are_found_and_the_last_of_a_name_counts() {
        let json = Json::parse(r#"{"n":3,"t":"x","l":[7],"f":true,"n":4}"#).unwrap();
        assert_eq!((json.uint("n"), json.text("t"), json.flag("f")), (Some(4), Some("x"), true));
        assert_eq!(json.list("l")[0].as_u64(), Some(7));
        assert_eq!((json.get("m"), json.list("m").len(), json.at(0)), (None, 0, None));
    }

    #[test]
    fn what_is_not_json_says_where() {
        assert_eq!(Json::parse("{\"a\":}").unwrap_err(), "not JSON at line 1, column 6");
        assert_eq!(Json::parse(&"[".repeat(10_000)).unwrap_err(), "not JSON at line 1, column 128");
    }
}
