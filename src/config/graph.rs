//! What must come before what: tasks of a DAG, tables of a project.

use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::BTreeMap;

/// Nodes in an order in which each comes after those it needs; or one cycle, whose first node is
/// its last one too.
///
/// `needs` pairs a node with one that it needs; pairs with unknown nodes are left out.
pub fn order<'a, N: Ord + ?Sized>(
    nodes: impl IntoIterator<Item = &'a N>,
    needs: impl IntoIterator<Item = (&'a N, &'a N)>,
) -> Result<Vec<&'a N>, Vec<&'a N>> {
    let mut graph = DiGraph::<&'a N, ()>::new();
    let mut places: Vec<_> = nodes.into_iter().map(|node| (node, graph.add_node(node))).collect();
    // A depth-first order ends with what was written first: turned round, it begins with it.
    places.reverse();
    let places: BTreeMap<&N, NodeIndex> = places.into_iter().collect();
    for (node, needed) in needs {
        if let (Some(node), Some(needed)) = (places.get(node), places.get(needed)) {
            graph.update_edge(*needed, *node, ());
        }
    }
    match toposort(&graph, None) {
        Ok(order) => Ok(order.into_iter().map(|node| graph[node]).collect()),
        Err(_) => Err(cycle(&graph).into_iter().map(|node| graph[node]).collect()),
    }
}

/// One cycle, walked against its edges, so that it reads "needs".
fn cycle<N>(graph: &DiGraph<N, ()>) -> Vec<NodeIndex> {
    let circular = |group: &Vec<NodeIndex>| {
        group.len() > 1 || group.iter().any(|node| graph.contains_edge(*node, *node))
    };
    let Some(group) = tarjan_scc(graph).into_iter().find(circular) else { return Vec::new() };
    let mut walked = Vec::new();
    let mut here = group.iter().min().copied();
    while let Some(node) = here {
        if let Some(start) = walked.iter().position(|before| *before == node) {
            walked.push(node);
            return walked.split_off(start);
        }
        walked.push(node);
        let mut needed = graph.neighbors_directed(node, petgraph::Direction::Incoming);
        here = needed.find(|needed| group.contains(needed));
    }
    walked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_comes_after_those_it_needs() {
        let needs = [("load", "fetch"), ("page", "load"), ("load", "nowhere")];
        assert_eq!(order(["page", "load", "fetch"], needs), Ok(vec!["fetch", "load", "page"]));
    }

    #[test]
    fn a_cycle_is_told_from_its_start_to_its_start() {
        let needs = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")];
        assert_eq!(order(["a", "b", "c", "d"], needs), Err(vec!["b", "c", "b"]));
        assert_eq!(order(["a"], [("a", "a")]), Err(vec!["a", "a"]));
    }
}
