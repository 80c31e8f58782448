//! Sorted maps and sets in chunks: a B-tree of two levels.
//!
//! The standard library's B-tree costs 8 to 10 KB of wasm for each pair of types, and the engine needs a dozen. This one
//! costs about 1 KB, finds as fast, and appends (ids and clocks grow) without moving anything. Inserting moves at most
//! one chunk. Up to a million entries the upper level has a few thousand chunks.

use std::ops::{Bound, RangeBounds};

/// Entries of a chunk. Larger ones make inserting slow, smaller ones the upper level long.
const CHUNK: usize = 256;

#[derive(Debug, Clone, PartialEq)]
pub struct SortedMap<K, V> {
    /// None of them is empty.
    chunks: Vec<Vec<(K, V)>>,
    len: usize,
}

/// A chunk, and a place in it.
type Place = (usize, usize);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap { chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where a key is, or where it would go.
    fn locate(&self, key: &K) -> Result<Place, Place> {
        let after = self.chunks.partition_point(|chunk| chunk[0].0 <= *key);
        let at = after.saturating_sub(1);
        let Some(chunk) = self.chunks.get(at) else { return Err((0, 0)) };
        match chunk.binary_search_by(|entry| entry.0.cmp(key)) {
            Ok(i) => Ok((at, i)),
            Err(i) => Err((at, i)),
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.locate(key).ok().map(|(c, i)| &self.chunks[c][i].1)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.locate(key).ok().map(|(c, i)| &mut self.chunks[c][i].1)
    }

    pub fn contains_key(&self, key: &K) -> bool {
        self.locate(key).is_ok()
    }

    /// Sets a value and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.locate(&key) {
            Ok((c, i)) => Some(std::mem::replace(&mut self.chunks[c][i].1, value)),
            Err(place) => {
                self.insert_at(place, key, value);
                None
            }
        }
    }

    /// The value of a key, made first where there is none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (c, i) = match self.locate(&key) {
            Ok(place) => place,
            Err(place) => self.insert_at(place, key, make()),
        };
        &mut self.chunks[c][i].1
    }

    fn insert_at(&mut self, (mut c, mut i): Place, key: K, value: V) -> Place {
        self.len += 1;
        if self.chunks.is_empty() {
            self.chunks.push(Vec::new());
        }
        if self.chunks[c].len() == CHUNK {
            // At the very end a new chunk begins, so that what is appended leaves full ones behind.
            let half = if i == CHUNK && c + 1 == self.chunks.len() { CHUNK } else { CHUNK / 2 };
            let tail = self.chunks[c].split_off(half);
            self.chunks.insert(c + 1, tail);
            if i >= half {
                (c, i) = (c + 1, i - half);
            }
        }
        self.chunks[c].insert(i, (key, value));
        (c, i)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (c, i) = self.locate(key).ok()?;
        self.len -= 1;
        let (_, value) = self.chunks[c].remove(i);
        if self.chunks[c].is_empty() {
            self.chunks.remove(c);
        }
        Some(value)
    }

    /// Entries between two keys, ascending; from both ends.
    pub fn range(&self, keys: impl RangeBounds<K>) -> Range<'_, K, V> {
        let (mut front, mut back) = ((0, 0), (self.chunks.len(), 0));
        match keys.start_bound() {
            Bound::Included(key) => front = self.locate(key).unwrap_or_else(|place| place),
            Bound::Excluded(key) => front = self.locate(key).map_or_else(|place| place, |(c, i)| (c, i + 1)),
            Bound::Unbounded => {}
        }
        match keys.end_bound() {
            Bound::Included(key) => back = self.locate(key).map_or_else(|place| place, |(c, i)| (c, i + 1)),
            Bound::Excluded(key) => back = self.locate(key).unwrap_or_else(|place| place),
            Bound::Unbounded => {}
        }
        Range { chunks: &self.chunks, front, back }
    }

    pub fn iter(&self) -> Range<'_, K, V> {
        Range { chunks: &self.chunks, front: (0, 0), back: (self.chunks.len(), 0) }
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|entry| entry.0)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|entry| entry.1)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.chunks.iter_mut().flatten().map(|entry| (&entry.0, &mut entry.1))
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        for chunk in &mut self.chunks {
            chunk.retain(|entry| keep(&entry.0, &entry.1));
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.len = self.chunks.iter().map(Vec::len).sum();
    }
}

/// Entries of a part of a map.
pub struct Range<'a, K, V> {
    chunks: &'a [Vec<(K, V)>],
    front: Place,
    back: Place,
}

impl<'a, K, V> Iterator for Range<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.front >= self.back {
                return None;
            }
            let (c, i) = self.front;
            match self.chunks.get(c)?.get(i) {
                Some(entry) => {
                    self.front = (c, i + 1);
                    return Some((&entry.0, &entry.1));
                }
                None => self.front = (c + 1, 0),
            }
        }
    }
}

impl<K, V> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if self.front >= self.back {
                return None;
            }
            let (c, i) = self.back;
            if i == 0 {
                self.back = (c - 1, self.chunks[c - 1].len());
                continue;
            }
            self.back = (c, i - 1);
            let entry = &self.chunks[c][i - 1];
            return Some((&entry.0, &entry.1));
        }
    }
}

impl<K: Ord, V> Extend<(K, V)> for SortedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = SortedMap::new();
        map.extend(entries);
        map
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter().flatten()
    }
}

/// Sorts a list and leaves each value in it once.
pub fn sort_dedup<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

/// A sorted set.
#[derive(Debug, Clone, PartialEq)]
pub struct SortedSet<K>(SortedMap<K, ()>);

impl<K> Default for SortedSet<K> {
    fn default() -> Self {
        SortedSet(SortedMap::default())
    }
}

impl<K: Ord> SortedSet<K> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Whether it was not there before.
    pub fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }

    /// Whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        self.0.remove(key).is_some()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.keys()
    }

    pub fn range(&self, keys: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = &K> {
        self.0.range(keys).map(|entry| entry.0)
    }
}

impl<K: Ord> Extend<K> for SortedSet<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        for key in keys {
            self.insert(key);
        }
    }
}

impl<K: Ord> FromIterator<K> for SortedSet<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut set = SortedSet::new();
        set.extend(keys);
        set
    }
}

impl<K> IntoIterator for SortedSet<K> {
    type Item = K;
    type IntoIter = std::iter::Map<<SortedMap<K, ()> as IntoIterator>::IntoIter, fn((K, ())) -> K>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|entry| entry.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::mix;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_as_the_standard_map_does() {
        for seed in 0..20 {
            let (mut ours, mut theirs) = (SortedMap::new(), BTreeMap::new());
            let span = [40, 1_000, 100_000][seed as usize % 3];
            for step in 0..4_000u64 {
                let random = mix(seed * 1_000_000 + step);
                let key = (random >> 8) % span;
                match random % 8 {
                    0..=3 => assert_eq!(ours.insert(key, step), theirs.insert(key, step)),
                    4 => assert_eq!(*ours.get_or_insert_with(key, || step), *theirs.entry(key).or_insert(step)),
                    5 | 6 => assert_eq!(ours.remove(&key), theirs.remove(&key)),
                    _ => {
                        let to = key + (random >> 40) % span;
                        assert!(ours.range(key..to).eq(theirs.range(key..to)));
                        assert!(ours.range(key..=to).rev().eq(theirs.range(key..=to).rev()));
                        assert!(ours.range(key..).take(9).eq(theirs.range(key..).take(9)));
                    }
                }
                assert_eq!((ours.len(), ours.get(&key)), (theirs.len(), theirs.get(&key)));
            }
            ours.retain(|key, _| key % 3 == 0);
            theirs.retain(|key, _| key % 3 == 0);
            assert!(ours.iter().eq(theirs.iter()) && ours.iter().rev().eq(theirs.iter().rev()));
            assert!(ours.into_iter().eq(theirs));
        }
    }

    #[test]
    fn appending_leaves_full_chunks() {
        let map: SortedMap<usize, ()> = (0..10 * CHUNK).map(|i| (i, ())).collect();
        assert_eq!(map.chunks.len(), 10);
    }
}
