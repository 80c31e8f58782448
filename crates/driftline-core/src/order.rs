//! Order: each thing after what it depends on, and things that need each other in a cycle as one.
//!
//! [`Walk`] is Tarjan's algorithm ("Depth-first search and linear graph algorithms", 1972) without recursion, so that a
//! chain of a million does not overflow the stack. It finishes a component only after all that it depends on, and
//! visits roots in the order given: a history that is already valid comes out unchanged.

use crate::edit::{Edit, Op};
use crate::problem::Problem;
use crate::schema::Schema;
use crate::sorted::{SortedMap, sort_dedup};
use crate::value::{RowKey, Value};

/// A depth-first walk over nodes `0..n` that hands out components as they are finished.
pub struct Walk {
    /// When a node was met, from 1; 0 is not yet.
    met: Vec<u32>,
    low: Vec<u32>,
    open: Vec<bool>,
    count: u32,
    path: Vec<usize>,
    frames: Vec<Frame>,
    /// The edges of all frames, one run after the other.
    edges: Vec<usize>,
}

struct Frame {
    node: usize,
    first_edge: usize,
    next_edge: usize,
}

impl Walk {
    pub fn new(nodes: usize) -> Walk {
        let frames = Vec::new();
        Walk { met: vec![0; nodes], low: vec![0; nodes], open: vec![false; nodes], count: 0, path: Vec::new(), frames, edges: Vec::new() }
    }

    /// Visits `root` and what it depends on, unless an earlier root did; `finish` gets each component, dependencies
    /// first. `edges` appends what a node depends on.
    pub fn visit(&mut self, root: usize, mut edges: impl FnMut(usize, &mut Vec<usize>), mut finish: impl FnMut(&[usize])) {
        self.walk(root, &mut edges, &mut finish);
    }

    /// One copy of this in the wasm, whoever calls.
    fn walk(&mut self, root: usize, edges: &mut dyn FnMut(usize, &mut Vec<usize>), finish: &mut dyn FnMut(&[usize])) {
        if self.met[root] != 0 {
            return;
        }
        self.enter(root, edges);
        while let Some(frame) = self.frames.last_mut() {
            let node = frame.node;
            if frame.next_edge == self.edges.len() {
                self.leave(finish);
                continue;
            }
            let to = self.edges[frame.next_edge];
            frame.next_edge += 1;
            if self.met[to] == 0 {
                self.enter(to, edges);
            } else if self.open[to] {
                self.low[node] = self.low[node].min(self.met[to]);
            }
        }
    }

    fn enter(&mut self, node: usize, edges: &mut dyn FnMut(usize, &mut Vec<usize>)) {
        self.count += 1;
        self.met[node] = self.count;
        self.low[node] = self.count;
        self.open[node] = true;
        self.path.push(node);
        let first_edge = self.edges.len();
        edges(node, &mut self.edges);
        self.frames.push(Frame { node, first_edge, next_edge: first_edge });
    }

    fn leave(&mut self, finish: &mut dyn FnMut(&[usize])) {
        let Some(Frame { node, first_edge, .. }) = self.frames.pop() else { return };
        self.edges.truncate(first_edge);
        if let Some(parent) = self.frames.last() {
            self.low[parent.node] = self.low[parent.node].min(self.low[node]);
        }
        if self.low[node] == self.met[node] {
            let from = self.path.iter().rposition(|n| *n == node).unwrap_or(0);
            for &member in &self.path[from..] {
                self.open[member] = false;
            }
            finish(&self.path[from..]);
            self.path.truncate(from);
        }
    }
}

/// All components of a graph, dependencies first. Members of one come ascending.
pub fn components(nodes: usize, mut edges: impl FnMut(usize, &mut Vec<usize>)) -> Vec<Vec<usize>> {
    all_components(nodes, &mut edges)
}

fn all_components(nodes: usize, edges: &mut dyn FnMut(usize, &mut Vec<usize>)) -> Vec<Vec<usize>> {
    let mut walk = Walk::new(nodes);
    let mut all = Vec::new();
    for root in 0..nodes {
        walk.visit(root, &mut *edges, |members| {
            let mut members = members.to_vec();
            sort_dedup(&mut members);
            all.push(members);
        });
    }
    all
}

/// Groups of nodes so that each group comes after all that refer to it; nodes that refer to each other are one. `refers` appends
/// what a node refers to. Groups that need nothing of each other stand together, in order of their first node.
pub fn referrers_first(nodes: usize, refers: impl Fn(usize, &mut Vec<usize>)) -> Vec<Vec<usize>> {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    let mut targets = Vec::new();
    for node in 0..nodes {
        refers(node, &mut targets);
        for target in targets.drain(..).filter(|target| *target != node) {
            users[target].push(node);
        }
    }
    let mut wave = vec![0usize; nodes];
    let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
    for group in components(nodes, |node, out| out.extend_from_slice(&users[node])) {
        let outside = group.iter().flat_map(|node| &users[*node]).filter(|user| group.binary_search(user).is_err());
        let own = outside.map(|user| wave[*user] + 1).max().unwrap_or(0);
        group.iter().for_each(|node| wave[*node] = own);
        groups.push((own, group));
    }
    groups.sort();
    groups.into_iter().map(|group| group.1).collect()
}

/// An edit in the order in which it takes effect, and the transaction of the unit that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub part: usize,
    pub edit: Edit,
}

/// Orders the edits of a unit: parents are created first and deleted last, edits of one row keep their order. Where rows
/// need each other, a nullable reference is set once both exist. `held` tells what a row refers to already.
pub fn arrange(schema: &Schema, steps: Vec<Step>, held: &dyn Fn(RowKey) -> Vec<(u16, RowKey)>) -> Result<Vec<Step>, Problem> {
    if steps.len() < 2 {
        return Ok(steps);
    }
    let graph = Graph::new(schema, &steps, held);
    let groups = components(steps.len(), |node, out| {
        for need in &graph.needs[node] {
            out.push(need.on);
        }
    });
    let mut steps: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let mut arranged = Vec::with_capacity(steps.len());
    let mut done = vec![false; steps.len()];
    for group in groups {
        let members = if group.len() == 1 { group } else { break_cycle(schema, &graph, &steps, &group)? };
        let mut later = Vec::new();
        for node in members {
            let Some(mut step) = steps[node].take() else { continue };
            if let Some(late) = graph.defer(schema, &mut step, &done) {
                later.push(late);
            }
            done[node] = true;
            arranged.push(step);
        }
        arranged.extend(later);
    }
    Ok(arranged)
}

/// The order inside a cycle, by its required references alone; they must not close one themselves.
fn break_cycle(schema: &Schema, graph: &Graph, steps: &[Option<Step>], group: &[usize]) -> Result<Vec<usize>, Problem> {
    let inner = components(group.len(), |i, out| {
        for need in &graph.needs[group[i]] {
            if let (true, Ok(on)) = (need.hard, group.binary_search(&need.on)) {
                out.push(on);
            }
        }
    });
    let mut members = Vec::new();
    for component in inner {
        if component.len() > 1 {
            let detail = "these rows need each other through required references: no order can create them";
            let mut problem = Problem::new("cycle", detail);
            for i in component {
                if let Some(step) = &steps[group[i]] {
                    problem = problem.row(schema, step.edit.row);
                }
            }
            return Err(problem);
        }
        members.push(group[component[0]]);
    }
    Ok(members)
}

struct Graph {
    needs: Vec<Vec<Need>>,
    created: SortedMap<RowKey, usize>,
}

/// A step on which another depends; `hard` where no nullable reference can be left for later.
struct Need {
    on: usize,
    hard: bool,
}

impl Graph {
    fn new(schema: &Schema, steps: &[Step], held: &dyn Fn(RowKey) -> Vec<(u16, RowKey)>) -> Graph {
        let mut created = SortedMap::new();
        // Steps that refer to a row, or whose row does already, with whether they must: by row, then step.
        let mut users: Vec<(RowKey, usize, bool)> = Vec::new();
        for (i, Step { edit, .. }) in steps.iter().enumerate() {
            if edit.makes() {
                created.get_or_insert_with(edit.row, || i);
            } else {
                for (column, target) in held(edit.row) {
                    users.push((target, i, !nullable(schema, edit.row, column)));
                }
            }
            for (column, target) in edit.references() {
                users.push((target, i, !nullable(schema, edit.row, column)));
            }
        }
        users.sort_unstable();
        let mut last: SortedMap<RowKey, usize> = SortedMap::new();
        let mut needs = Vec::with_capacity(steps.len());
        for (i, Step { edit, .. }) in steps.iter().enumerate() {
            let mut list = Vec::new();
            for (column, target) in edit.references() {
                match created.get(&target) {
                    Some(&on) if on != i => list.push(Need { on, hard: !nullable(schema, edit.row, column) }),
                    _ => {}
                }
            }
            let creator = created.get(&edit.row).copied();
            if creator != Some(i) {
                for on in [last.insert(edit.row, i), creator] {
                    list.extend(on.map(|on| Need { on, hard: true }));
                }
            }
            if edit.op == Op::Delete {
                let from = users.partition_point(|user| user.0 < edit.row);
                for &(row, on, hard) in &users[from..] {
                    if row != edit.row {
                        break;
                    }
                    // What refers to the row must have let go of it; what comes after the delete cannot.
                    if on != i && (on < i || !steps[on].edit.makes()) {
                        list.push(Need { on, hard });
                    }
                }
            }
            needs.push(list);
        }
        Graph { needs, created }
    }

    /// Takes out of a step the nullable references to rows that are created later, and returns them as a step of their own.
    fn defer(&self, schema: &Schema, step: &mut Step, done: &[bool]) -> Option<Step> {
        let row = step.edit.row;
        let created = self.created.get(&row).copied();
        let mut late = Edit::new(Op::Update, row);
        for (column, value) in &mut step.edit.set {
            let Value::Ref(target) = value else { continue };
            let waits = self.created.get(target).is_some_and(|on| !done[*on] && Some(*on) != created);
            if waits && nullable(schema, row, *column) {
                late.set.push((*column, std::mem::replace(value, Value::Null)));
            }
        }
        (!late.set.is_empty()).then_some(Step { part: step.part, edit: late })
    }
}

fn nullable(schema: &Schema, row: RowKey, column: u16) -> bool {
    schema.tables[row.table as usize].columns[column as usize].nullable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(nodes: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
        components(nodes, |n, out| out.extend(edges.iter().filter(|e| e.0 == n).map(|e| e.1)))
    }

    #[test]
    fn o3_a_valid_history_is_left_as_it_is() {
        assert_eq!(all(4, &[(1, 0), (3, 0), (3, 2)]), [[0], [1], [2], [3]]);
    }

    #[test]
    fn o3_each_comes_after_its_dependencies_depth_first() {
        assert_eq!(all(4, &[(0, 3), (3, 1)]), [[1], [3], [0], [2]]);
    }

    #[test]
    fn o4_a_cycle_is_one() {
        assert_eq!(all(5, &[(0, 2), (2, 4), (4, 0), (4, 1)]), vec![vec![1], vec![0, 2, 4], vec![3]]);
    }

    #[test]
    fn i5_what_refers_to_a_row_goes_before_it() {
        // 1 and 2 refer to 0; 3 refers to 2 and 1; 4 and 5 to each other, and 5 to 3.
        let edges = [(1, 0), (2, 0), (3, 2), (3, 1), (4, 5), (5, 4), (5, 3), (0, 0)];
        let groups = referrers_first(6, |n, out| out.extend(edges.iter().filter(|e| e.0 == n).map(|e| e.1)));
        assert_eq!(groups, [vec![4, 5], vec![3], vec![1], vec![2], vec![0]]);
    }

    #[test]
    fn o3_a_chain_of_a_million_does_not_overflow() {
        let n = 1_000_000;
        let order = components(n, |node, out| out.extend((node + 1 < n).then_some(node + 1)));
        assert_eq!((order.len(), order[0][0]), (n, n - 1));
    }
}
