#!/usr/bin/env python3
"""The seam between majors of PostgreSQL (base/compat.h): who may know which major it is.

* only base/compat.h, and the two files that hold core's callback signatures, ask for the version
* elsewhere nobody uses a name that older majors have, or one whose meaning or arguments depend on the major
* nobody uses what nbtree keeps to itself, which changes with each major
* each name in the list below is one that the seam uses: else it says nothing
"""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import harness
from harness import TOP, Failure, check

SEAM = ('base/compat.h', 'table/callbacks.c', 'btree/index_handler.c')
PRIVATE = re.compile(r'\b(_bt_\w+|BTScanOpaque\w*|BTScanPos\w*|BTArrayKeyInfo)\b')
VERSION = 'PG_VERSION_NUM|PG_MAJORVERSION_NUM|PG_MAJORVERSION|CATALOG_VERSION_NO'

# a name, or alternatives -> what the source says instead
NAMES = {
    # what older majors call what the source calls by the newest name
    'RelFileNode': 'RelFileLocator',
    'RelFileNodeEquals': 'RelFileLocatorEquals',
    'spcNode|dbNode|relNode': 'spcOid, dbOid, relNumber',
    'rd_node': 'rd_locator',
    'rnode': 'rlocator',
    'xnodes': 'xlocators',
    'relation_set_new_filenode': 'relation_set_new_filelocator',
    'BackendId|InvalidBackendId': 'ProcNumber, INVALID_PROC_NUMBER',
    'BackendIdForTempRelations': 'ProcNumberForTempRelations',
    'BackendIdGetProc': 'ProcNumberGetProc',
    'backendId': 'procNumber',
    'pgprocno': 'MyProcNumber',
    'blk_read_time|blk_write_time': 'shared_blk_read_time, shared_blk_write_time',
    'smgrcloseall': 'smgrdestroyall',
    'IsAutoVacuumWorkerProcess': 'AmAutoVacuumWorkerProcess',
    'PG_WAIT_BUFFER_PIN': 'WAIT_EVENT_BUFFER_PIN',
    'pg_attribute_noreturn': 'pg_noreturn, in front',
    'rctype': 'cmptype',
    'ROWCOMPARE_LT|ROWCOMPARE_LE': 'COMPARE_LT, COMPARE_LE',
    'storage/backendid|storage/relfilenode|storage/relfilelocator|storage/procnumber': 'base/compat.h, which includes these headers',
    # what differs in more than the name
    'lxid': 'my_local_xid',
    't_counts|t_blocks_fetched|t_blocks_hit|blocks_fetched|blocks_hit': 'relation_blocks_fetched, relation_blocks_hit',
    'relpathbackend|relpathperm': 'file_path, init_fork_path',
    'smgrtruncate|smgrtruncate2': 'truncate_fork',
    'RelidByRelfilenode|RelidByRelfilenumber': 'relation_of_file',
    'utils/relfilenodemap|utils/relfilenumbermap': 'base/compat.h, which includes these headers',
    'smgrprefetch': 'prefetch_block',
    'ResolveRecoveryConflictWithSnapshot': 'resolve_snapshot_conflict',
    'PG_WAIT_EXTENSION|WaitEventExtensionNew': 'named_wait_event',
    'ConditionalLockTuple': 'try_lock_tuple',
    'ConditionalXactLockTableWait': 'try_wait_for_xid',
    'pgstat_count_heap_update': 'count_update',
    'index_beginscan': 'scan_whole_index',
    'nsearches': 'count_index_search',
    'tuplesort_getdatum': 'next_sorted_datum',
    'pgstat_get_local_beentry_by_index|pgstat_fetch_stat_local_beentry': 'local_backend_status',
    'estimate_array_length': 'expected_elements',
    'make_restrictinfo': 'implied_restriction',
    'heap_form_minimal_tuple': 'form_minimal_tuple',
    'vacuum_delay_point': 'vacuum_pause',
    'vac_update_relstats': 'update_relation_statistics',
    'pgstat_report_vacuum': 'report_vacuumed',
    'vacuum_set_xid_limits|vacuum_get_cutoffs': 'table_vacuum_limits',
    'heaprel': 'set_vacuumed_table',
    'old_snapshot_threshold': 'snapshots_grow_too_old',
    'INDEX_ATTR_BITMAP_ALL|INDEX_ATTR_BITMAP_HOT_BLOCKING': 'moving_columns',
    'INDEX_ATTR_BITMAP_SUMMARIZED': 'summarized_columns',
    'amsummarizing': 'index_summarizes',
    'prefetch_maximum': 'forbid_prefetching',
    'ps_offset': 'ps_offset_am',
    'relnode': 'change_locator',
    'ReorderBufferTupleBuf': 'QueuedTuple',
    'ReorderBufferGetChange': 'ReorderBufferAllocChange',
    'ReorderBufferGetTupleBuf': 'ReorderBufferAllocTupleBuf',
    'TBMIterateResult|tbm_iterate|rs_tbmiterator': 'scan_bitmap_block',
    'ReadStream|read_stream_next_block': 'table_analyze_block',
    'is_current_xact_tuple': 'rowan_slot_is_current_xact_tuple',
    'amcanbuildparallel|amconsistentequality|amconsistentordering': 'set_newer_fields',
}


def sources():
    return sorted(glob.glob(TOP + '/src/*.[ch]') + glob.glob(TOP + '/src/*/*.[ch]'))


def without_comments(text):
    """The same lines."""
    return re.sub(r'/\*.*?\*/', lambda m: '\n' * m.group(0).count('\n'), text, flags=re.S)


INSTEAD = {name: instead for names, instead in NAMES.items() for name in names.split('|')}
ANY = re.compile(r'(?<!\w)(?:%s)(?!\w)' % '|'.join([VERSION, *INSTEAD]))


def complaints(name, text):
    """What a file outside the seam must not say."""
    text = without_comments(text)
    for m in ANY.finditer(text):
        yield 'src/%s:%d: %s: %s' % (name, text.count('\n', 0, m.start()) + 1, m.group(0),
                                     INSTEAD.get(m.group(0), 'asks which major it is'))


def test(options):
    bad, seam = [], ''
    for path in sources():
        name, text = os.path.relpath(path, TOP + '/src'), open(path).read()
        found = PRIVATE.search(without_comments(text))
        check(not found, 'src/%s: %s is nbtree\'s own' % (name, found and found.group(0)))
        if name in SEAM:
            seam += without_comments(text)
        else:
            bad += complaints(name, text)
    check(not bad, 'outside the seam:\n' + '\n'.join(bad))
    for name in INSTEAD:
        check(re.search(r'\b%s\b' % name, seam), '%s: the seam does not know it, either' % name)
        check(list(complaints('x.c', 'int i;\n\tfoo(%s);\n' % name)) != [], '%s is not found' % name)
    check(list(complaints('x.c', '#if PG_VERSION_NUM < 1\n')) != [], 'a version is not found')
    check(list(complaints('x.c', '/* RelFileNode\n */\n')) == [], 'a comment is taken for code')


if __name__ == '__main__':
    harness.main(test, harness.arguments(__doc__))
