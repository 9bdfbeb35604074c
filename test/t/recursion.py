#!/usr/bin/env python3
"""Which functions call themselves, by way of others perhaps: only those listed here, each with what bounds its depth.

Read from the calls in the compiled library, so calls through pointers are not seen.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import harness
from harness import check, run, say

BOUNDED = {
    ('add_separator', 'next_page'): 'index load: one level up at each turn, MAX_LEVELS at most',
    ('fulfil',): 'split: one level up at each turn, no further than the root',
    ('give_constraint',): 'partitions: one level down at each turn; looks after the stack',
    ('merge_level',): 'merge: one level up at each turn, no further than the root',
    ('stop_prefetching',): "nodes of a plan: core's planstate_tree_walker looks after the stack",
}


def calls(library):
    """{function: functions that it calls}, each as its name, a blank and its address: two files may have functions of the
    same name.  Parts that the compiler made of a function count for themselves."""
    graph, current, name = {}, None, None
    for line in run(['objdump', '-d', '-w', '--no-show-raw-insn', library]).split('\n'):
        start = re.match(r'0*([0-9a-f]+) <([^>]+)>:', line)
        call = re.search(r'\b(call|j[a-z]+) +([0-9a-f]+) <([^>+]+)(\+0x[0-9a-f]+)?>', line)
        if start:
            name = '%s %s' % (start.group(2), start.group(1))
            current = graph.setdefault(name, set())
        elif call:
            called = '%s %s' % (call.group(3), call.group(2))
            if call.group(1) == 'call' or not (call.group(4) or called == name):
                current.add(called)
    return graph


def reachable(graph, start):
    seen, todo = set(), list(graph[start])
    while todo:
        f = todo.pop()
        if f in graph and f not in seen:
            seen.add(f)
            todo.extend(graph[f])
    return seen


def cycles(graph):
    """Sets of functions that all reach each other, by their names alone."""
    reach = {f: reachable(graph, f) for f in graph}
    found = set()
    for f in graph:
        if f in reach[f]:
            found.add(frozenset(re.sub(r'[. ].*', '', g) for g in reach[f] if f in reach[g]))
    return found


def self_test():
    graph = {'a 1': {'b 2'}, 'b 2': {'a.part.0 3', 'c 4'}, 'a.part.0 3': {'a 1'}, 'c 4': {'d 5'}, 'd 5': set(), 'e 6': {'e 6'}, 'c 7': {'c 4'}}
    check(cycles(graph) == {frozenset(('a', 'b')), frozenset(('e',))}, 'cycles of a known graph: %s' % cycles(graph))


def test(options):
    self_test()
    graph = calls(os.path.join(harness.build('release'), 'rowan.so'))
    check(len(graph) > 500 and any(f.startswith('row_fetch_visible ') for f in graph), 'the library shows %d functions only' % len(graph))
    found = {tuple(sorted(c)) for c in cycles(graph)}
    for c in sorted(found):
        check(c in BOUNDED, 'recursion through %s: what bounds it?' % ', '.join(c))
    for c in sorted(set(BOUNDED) - found):
        check(False, 'listed, but there is no recursion through %s' % ', '.join(c))
    say('%d functions, %d recursions, each bounded' % (len(graph), len(found)))


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
