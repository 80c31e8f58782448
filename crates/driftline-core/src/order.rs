//! Order: each thing after what it depends on, and things that need each other in a cycle as one.
//!
//! [`Walk`] is Tarjan's algorithm ("Depth-first search and linear graph algorithms", 1972) without recursion, so that a
//! chain of a million does not overflow the stack. It finishes a component only after all that it depends on, and
//! visits roots in the order given: a history that is already valid comes out unchanged.

use crate::edit::{Edit, Op};
use crate::problem::Problem;
use crate::schema::Schema;
use crate::sorted::sort_dedup;
use crate::value::{RowKey, Value};

/// A depth-first walk that hands out components as they are finished. Nodes are numbers; what is never met costs nothing.
#[derive(Default)]
pub struct Walk {
    /// Up to the highest that was met.
    marks: Vec<Mark>,
    count: u32,
    path: Vec<usize>,
    frames: Vec<Frame>,
    /// The edges of all frames, one run after the other.
    edges: Vec<usize>,
}

/// Of a node.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// When it was met, from 1; 0 is not yet.
    met: u32,
    /// The earliest that is known to be reached from it.
    low: u32,
    /// It is on the path.
    open: bool,
}

struct Frame {
    node: usize,
    first_edge: usize,
    next_edge: usize,
}

impl Walk {
    pub fn new() -> Walk {
        Walk::default()
    }

    fn mark(&self, node: usize) -> Mark {
        self.marks.get(node).copied().unwrap_or_default()
    }

    /// Visits `root` and what it depends on, unless an earlier root did; `finish` gets each component, dependencies
    /// first. `edges` appends what a node depends on.
    pub fn visit(&mut self, root: usize, mut edges: impl FnMut(usize, &mut Vec<usize>), mut finish: impl FnMut(&[usize])) {
        self.walk(root, &mut edges, &mut finish);
    }

    /// One copy of this in the wasm, whoever calls.
    fn walk(&mut self, root: usize, edges: &mut dyn FnMut(usize, &mut Vec<usize>), finish: &mut dyn FnMut(&[usize])) {
        if self.mark(root).met != 0 {
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
            let mark = self.mark(to);
            if mark.met == 0 {
                self.enter(to, edges);
            } else if mark.open {
                self.reaches(node, mark.met);
            }
        }
    }

    fn enter(&mut self, node: usize, edges: &mut dyn FnMut(usize, &mut Vec<usize>)) {
        self.count += 1;
        if node >= self.marks.len() {
            self.marks.resize(node + 1, Mark::default());
        }
        self.marks[node] = Mark { met: self.count, low: self.count, open: true };
        self.path.push(node);
        let first_edge = self.edges.len();
        edges(node, &mut self.edges);
        self.frames.push(Frame { node, first_edge, next_edge: first_edge });
    }

    fn reaches(&mut self, node: usize, met: u32) {
        let low = &mut self.marks[node].low;
        *low = (*low).min(met);
    }

    fn leave(&mut self, finish: &mut dyn FnMut(&[usize])) {
        let Some(Frame { node, first_edge, .. }) = self.frames.pop() else { return };
        self.edges.truncate(first_edge);
        let mark = self.marks[node];
        if let Some(parent) = self.frames.last().map(|frame| frame.node) {
            self.reaches(parent, mark.low);
        }
        if mark.low == mark.met {
            let from = self.path.iter().rposition(|n| *n == node).unwrap_or(0);
            for &member in &self.path[from..] {
                self.marks[member].open = false;
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
    let mut walk = Walk::new();
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
    let mut arranged = Arranged { done: vec![false; steps.len()], order: Vec::with_capacity(steps.len()) };
    let mut walk = Walk::new();
    let mut steps: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let mut problem = None;
    for root in 0..steps.len() {
        let needs = |node: usize, out: &mut Vec<usize>| out.extend(graph.needs(node).iter().map(|need| need.on));
        walk.visit(root, needs, |group| match group {
            [node] => arranged.take(schema, &graph, &mut steps, &[*node]),
            _ => match break_cycle(schema, &graph, &steps, group) {
                Ok(members) => arranged.take(schema, &graph, &mut steps, &members),
                Err(found) => problem = problem.take().or(Some(found)),
            },
        });
    }
    problem.map_or(Ok(arranged.order), Err)
}

struct Arranged {
    done: Vec<bool>,
    order: Vec<Step>,
}

impl Arranged {
    /// Takes steps that come next, and after them what they leave for later.
    fn take(&mut self, schema: &Schema, graph: &Graph, steps: &mut [Option<Step>], members: &[usize]) {
        let mut later = Vec::new();
        for &node in members {
            let Some(mut step) = steps[node].take() else { continue };
            if let Some(late) = graph.defer(schema, node, &mut step, &self.done) {
                later.push(late);
            }
            self.done[node] = true;
            self.order.push(step);
        }
        self.order.extend(later);
    }
}

/// The order inside a cycle, by its required references alone; they must not close one themselves.
fn break_cycle(schema: &Schema, graph: &Graph, steps: &[Option<Step>], group: &[usize]) -> Result<Vec<usize>, Problem> {
    let mut group = group.to_vec();
    sort_dedup(&mut group);
    let inner = components(group.len(), |i, out| {
        for need in graph.needs(group[i]) {
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

/// What a step has to do with a row: it is of it, or refers to it. They are sorted by the row, and then what is of it comes first, so
/// that one pass tells of each reference who makes its target, and nothing is looked up by its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tie {
    row: RowKey,
    refers: bool,
    step: u32,
    /// Its number among the references of all steps; [`HELD`] where the row refers to it already.
    reference: u32,
    hard: bool,
}

const HELD: u32 = u32::MAX;

#[derive(Default)]
struct Graph {
    /// The needs of all steps, one run after the other, and where each begins.
    needs: Vec<Need>,
    first_need: Vec<usize>,
    /// Of each reference, who makes its target; and where those of a step begin.
    targets: Vec<Option<u32>>,
    first_reference: Vec<usize>,
    /// Of each step, who makes its row, and who of the others worked on it last.
    maker: Vec<Option<u32>>,
    before: Vec<Option<u32>>,
}

/// A step on which another depends; `hard` where no nullable reference can be left for later.
struct Need {
    on: usize,
    hard: bool,
}

impl Graph {
    fn new(schema: &Schema, steps: &[Step], held: &dyn Fn(RowKey) -> Vec<(u16, RowKey)>) -> Graph {
        let mut graph = Graph { maker: vec![None; steps.len()], before: vec![None; steps.len()], ..Graph::default() };
        let mut ties = Vec::with_capacity(2 * steps.len());
        let mut references = 0;
        for (i, Step { edit, .. }) in steps.iter().enumerate() {
            let tie = Tie { row: edit.row, refers: false, step: i as u32, reference: HELD, hard: true };
            ties.push(tie);
            graph.first_reference.push(references as usize);
            let to = |(column, row), reference| Tie { row, refers: true, reference, hard: !nullable(schema, edit.row, column), ..tie };
            if !edit.makes() {
                ties.extend(held(edit.row).into_iter().map(|target| to(target, HELD)));
            }
            for target in edit.references() {
                ties.push(to(target, references));
                references += 1;
            }
        }
        ties.sort_unstable();
        graph.targets = vec![None; references as usize];
        for of_row in ties.chunk_by(|a, b| a.row == b.row) {
            graph.join(steps, of_row);
        }
        for (i, step) in steps.iter().enumerate() {
            graph.first_need.push(graph.needs.len());
            graph.add_needs(schema, steps, i, &step.edit, &ties);
        }
        graph.first_need.push(graph.needs.len());
        graph
    }

    fn join(&mut self, steps: &[Step], of_row: &[Tie]) {
        let (own, users) = of_row.split_at(of_row.partition_point(|tie| !tie.refers));
        let maker = own.iter().map(|tie| tie.step).find(|step| steps[*step as usize].edit.makes());
        let mut last = None;
        for step in own.iter().map(|tie| tie.step) {
            self.maker[step as usize] = maker;
            if maker != Some(step) {
                self.before[step as usize] = last.replace(step);
            }
        }
        for tie in users.iter().filter(|tie| tie.reference != HELD) {
            self.targets[tie.reference as usize] = maker;
        }
    }

    fn add_needs(&mut self, schema: &Schema, steps: &[Step], i: usize, edit: &Edit, ties: &[Tie]) {
        let own = Some(i as u32);
        for ((column, _), on) in edit.references().zip(&self.targets[self.first_reference[i]..]) {
            if let Some(on) = on.filter(|_| *on != own) {
                self.needs.push(Need { on: on as usize, hard: !nullable(schema, edit.row, column) });
            }
        }
        if self.maker[i] != own {
            let others = [self.before[i], self.maker[i]].into_iter().flatten();
            self.needs.extend(others.map(|on| Need { on: on as usize, hard: true }));
        }
        if edit.op == Op::Delete {
            let users = &ties[ties.partition_point(|tie| (tie.row, tie.refers) < (edit.row, true))..];
            for tie in users.iter().take_while(|tie| tie.row == edit.row) {
                let on = tie.step as usize;
                // What refers to the row must have let go of it; what comes after the delete cannot.
                if on != i && (on < i || !steps[on].edit.makes()) {
                    self.needs.push(Need { on, hard: tie.hard });
                }
            }
        }
    }

    fn needs(&self, node: usize) -> &[Need] {
        &self.needs[self.first_need[node]..self.first_need[node + 1]]
    }

    /// Takes out of a step the nullable references to rows that are made later, and returns them as a step of their own.
    fn defer(&self, schema: &Schema, node: usize, step: &mut Step, done: &[bool]) -> Option<Step> {
        let row = step.edit.row;
        let mut late = Edit::new(Op::Update, row);
        let mut targets = self.targets[self.first_reference[node]..].iter();
        for (column, value) in &mut step.edit.set {
            let Value::Ref(_) = value else { continue };
            let target = targets.next().copied().flatten();
            let waits = target.is_some_and(|on| !done[on as usize] && target != self.maker[node]);
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
