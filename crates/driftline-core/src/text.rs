//! Three-way merging of texts, by lines.
//!
//! This is diff3 as described by Khanna, Kunal and Pierce, "A Formal Investigation of Diff3" (2007): the lines that all three
//! texts share cut them into regions. A region that one side has changed is taken from that side, and one that both have
//! changed differently cannot be merged. Lines are matched by those that occur once on either side (Cohen's patience
//! diff), so that blank lines align nothing by accident, and any text costs n log n.

use crate::sorted::sort_dedup;

/// How often what lies between matched lines is looked at again. It bounds the cost; texts that people write need two or three.
const ROUNDS: u32 = 12;

const NONE: u32 = u32::MAX;

/// What `base` becomes when it takes the changes of both sides, or `None` where these overlap.
pub fn merge3(base: &str, theirs: &str, mine: &str) -> Option<String> {
    let mut lines: Vec<&str> = Vec::new();
    for text in [base, theirs, mine] {
        lines.extend(text.split('\n'));
    }
    sort_dedup(&mut lines);
    let (base, theirs, mine) = (numbered(&lines, base), numbered(&lines, theirs), numbered(&lines, mine));
    let (in_theirs, in_mine) = (matched(&base, &theirs), matched(&base, &mine));
    let mut merged = Vec::with_capacity(theirs.len().max(mine.len()));
    let (mut b, mut t, mut m) = (0, 0, 0);
    loop {
        let mut next = b;
        while next < base.len() && (in_theirs[next] == NONE || in_mine[next] == NONE) {
            next += 1;
        }
        let is_end = next == base.len();
        let (t_end, m_end) = if is_end { (theirs.len(), mine.len()) } else { (in_theirs[next] as usize, in_mine[next] as usize) };
        let (was, their, my) = (&base[b..next], &theirs[t..t_end], &mine[m..m_end]);
        if their == was {
            merged.extend_from_slice(my);
        } else if my == was || my == their {
            merged.extend_from_slice(their);
        } else {
            return None;
        }
        if is_end {
            break;
        }
        merged.push(base[next]);
        (b, t, m) = (next + 1, t_end + 1, m_end + 1);
    }
    let mut text = String::new();
    for (i, line) in merged.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        text.push_str(lines[*line as usize]);
    }
    Some(text)
}

/// A text's lines, each as its place among all lines.
fn numbered(lines: &[&str], text: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for line in text.split('\n') {
        numbers.push(lines.partition_point(|l| *l < line) as u32);
    }
    numbers
}

/// Lines of the base and of a side, from and to.
#[derive(Clone, Copy)]
struct Gap {
    b: usize,
    b_end: usize,
    s: usize,
    s_end: usize,
}

/// Which line of `side` each line of `base` is, or `NONE`; both ascend.
fn matched(base: &[u32], side: &[u32]) -> Vec<u32> {
    let mut to = vec![NONE; base.len()];
    let mut gaps = vec![(Gap { b: 0, b_end: base.len(), s: 0, s_end: side.len() }, ROUNDS)];
    while let Some((mut gap, rounds)) = gaps.pop() {
        while gap.b < gap.b_end && gap.s < gap.s_end && base[gap.b] == side[gap.s] {
            to[gap.b] = gap.s as u32;
            gap.b += 1;
            gap.s += 1;
        }
        while gap.b < gap.b_end && gap.s < gap.s_end && base[gap.b_end - 1] == side[gap.s_end - 1] {
            gap.b_end -= 1;
            gap.s_end -= 1;
            to[gap.b_end] = gap.s_end as u32;
        }
        if rounds == 0 || gap.b == gap.b_end || gap.s == gap.s_end {
            continue;
        }
        let anchors = anchors(base, side, gap);
        for (b, s) in &anchors {
            to[*b] = *s as u32;
            gaps.push((Gap { b_end: *b, s_end: *s, ..gap }, rounds - 1));
            (gap.b, gap.s) = (*b + 1, *s + 1);
        }
        if !anchors.is_empty() {
            gaps.push((gap, rounds - 1));
        }
    }
    to
}

/// The longest list of lines that occur once on either side of a gap, and stand in the same order on both.
fn anchors(base: &[u32], side: &[u32], gap: Gap) -> Vec<(usize, usize)> {
    // The line in the upper bits, then the side, then the place: sorted, those of one line stand together.
    let mut seen: Vec<u64> = Vec::with_capacity(gap.b_end - gap.b + gap.s_end - gap.s);
    for (i, line) in (gap.b as u64..).zip(&base[gap.b..gap.b_end]) {
        seen.push(u64::from(*line) << 33 | i);
    }
    for (i, line) in (gap.s as u64..).zip(&side[gap.s..gap.s_end]) {
        seen.push(u64::from(*line) << 33 | 1 << 32 | i);
    }
    seen.sort_unstable();
    let mut pairs: Vec<u64> = Vec::new();
    for same in seen.chunk_by(|a, b| a >> 33 == b >> 33) {
        if let [b, s] = same
            && (b ^ s) >> 32 == 1
        {
            pairs.push(b << 32 | s & 0xffff_ffff);
        }
    }
    pairs.sort_unstable();
    // By place in the base now; of these the longest run that ascends in the side (Schensted, 1961).
    let place = |i: u32| pairs[i as usize] & 0xffff_ffff;
    let mut tails: Vec<u32> = Vec::new();
    let mut before = vec![NONE; pairs.len()];
    for i in 0..pairs.len() as u32 {
        let at = tails.partition_point(|tail| place(*tail) < place(i));
        if at > 0 {
            before[i as usize] = tails[at - 1];
        }
        match tails.get_mut(at) {
            Some(tail) => *tail = i,
            None => tails.push(i),
        }
    }
    let mut run = Vec::with_capacity(tails.len());
    let mut last = tails.last().copied().unwrap_or(NONE);
    while last != NONE {
        run.push(((pairs[last as usize] >> 32) as usize, place(last) as usize));
        last = before[last as usize];
    }
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::mix;

    fn merged(base: &str, theirs: &str, mine: &str) -> Option<String> {
        let there = merge3(base, theirs, mine);
        assert_eq!(there, merge3(base, mine, theirs), "the sides may be told apart by nothing");
        there
    }

    #[test]
    fn i7_texts_take_the_changes_of_both_sides() {
        for (base, theirs, mine, expected) in [
            ("a\nb\nc", "A\nb\nc", "a\nb\nC", "A\nb\nC"),
            ("a\nb\nc", "a\nb\nc", "x", "x"),
            ("a\nb\nc", "a\nc", "a\nb\nc\nd", "a\nc\nd"),
            ("a\nb\nc", "0\na\nb\nc", "a\nb\nc\n", "0\na\nb\nc\n"),
            ("one\n\ntwo\n\nthree", "ONE\n\ntwo\n\nthree", "one\n\ntwo\n\nnew\n\nthree", "ONE\n\ntwo\n\nnew\n\nthree"),
            ("a\nb\nc\nd\ne", "a\nx\nc\nd\ne", "a\nx\nc\nd\nE", "a\nx\nc\nd\nE"),
            ("", "a", "a", "a"),
            ("a\nk\nb", "k\nb", "a\nk", "k"),
        ] {
            assert_eq!(merged(base, theirs, mine).as_deref(), Some(expected), "{base:?} {theirs:?} {mine:?}");
        }
    }

    #[test]
    fn i7_overlapping_changes_are_not_merged() {
        for (base, theirs, mine) in [
            ("a", "b", "c"),
            ("", "b", "c"),
            ("a\nb\nc", "a\nx\nc", "a\ny\nc"),
            ("a\nb\nc", "", "a\nb\nC"),
            ("a\nb", "a\nx\nb", "a\ny\nb"),
            ("a\nb", "A\nb", "a\nB"),
        ] {
            assert_eq!(merged(base, theirs, mine), None, "{base:?} {theirs:?} {mine:?}");
        }
    }

    #[test]
    fn moved_lines_are_matched_in_one_order_only() {
        assert_eq!(matched(&[1, 2, 3, 4, 5], &[4, 5, 1, 2, 3]), [2, 3, 4, NONE, NONE]);
        assert_eq!(matched(&[1, 7, 7, 2], &[7, 1, 7, 2, 7]), [1, 2, NONE, 3]);
        for seed in 0..2_000u64 {
            let list = |salt: u64| (0..mix(seed ^ salt) % 30).map(|i| (mix(seed ^ salt ^ i << 8) % 12) as u32).collect::<Vec<_>>();
            let (base, side) = (list(1 << 40), list(2 << 40));
            let mut last = None;
            for (line, to) in base.iter().zip(matched(&base, &side)).filter(|pair| pair.1 != NONE) {
                assert!(*line == side[to as usize] && last.is_none_or(|last| last < to), "{base:?} {side:?}");
                last = Some(to);
            }
        }
    }

    /// A quadratic merge of these would not end while anybody waits: 250,000 lines make 62 thousand million pairs.
    #[test]
    fn i7_large_texts_are_merged_whatever_their_lines() {
        let text = |line: &dyn Fn(u64) -> u64| (0..250_000).map(|i| format!("{:x}", line(i))).collect::<Vec<_>>();
        for line in [&(|i| i) as &dyn Fn(u64) -> u64, &|i| i % 2, &|i| mix(i) % 1_000, &|i| i / 2] {
            let base = text(line);
            let (mut theirs, mut mine) = (base.clone(), base.clone());
            theirs[10] = "theirs".into();
            mine[249_990] = "mine".into();
            let (base, theirs, mine) = (base.join("\n"), theirs.join("\n"), mine.join("\n"));
            let merged = merged(&base, &theirs, &mine).unwrap();
            assert!(merged.contains("theirs") && merged.contains("mine") && merged.lines().count() == 250_000);
            let reversed = base.rsplit('\n').collect::<Vec<_>>().join("\n");
            merge3(&base, &reversed, &mine);
        }
    }
}
