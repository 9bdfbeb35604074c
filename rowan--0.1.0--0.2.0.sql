-- What 0.2.0 has beyond 0.1.0: views that show what goes on, and pictures of pages and trees.
\echo Use "ALTER EXTENSION rowan UPDATE TO '0.2.0'" to load this file. \quit

--
-- The pool
--
CREATE FUNCTION rowan.pool_relations(
	OUT database oid,
	OUT tablespace oid,
	OUT filenode oid,
	OUT temporary boolean,
	OUT frames bigint,
	OUT dirty bigint,
	OUT recent bigint)
RETURNS SETOF record
LANGUAGE C STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rowan_pool_relations';
COMMENT ON FUNCTION rowan.pool_relations()
IS 'files of all databases with pages in Rowan''s buffer pool';

CREATE VIEW rowan.pool_relations AS
	SELECT d.datname AS database,
		CASE WHEN d.datname = pg_catalog.current_database()
			THEN pg_catalog.pg_filenode_relation(
				CASE WHEN p.tablespace = d.dattablespace THEN 0::oid ELSE p.tablespace END,
				p.filenode) END AS relation,
		p.filenode,
		p.frames,
		p.frames * pg_catalog.current_setting('block_size')::bigint AS bytes,
		p.dirty,
		p.recent
	FROM rowan.pool_relations() p LEFT JOIN pg_catalog.pg_database d ON d.oid = p.database
	ORDER BY p.frames DESC, p.database, p.filenode;
COMMENT ON VIEW rowan.pool_relations
IS 'what Rowan''s buffer pool holds, by relation: pages, changed ones, and those used lately';

--
-- Trees, versions
--
CREATE FUNCTION rowan.file_state(rel regclass,
	OUT height integer,
	OUT blocks bigint,
	OUT high_water bigint,
	OUT free_pages bigint,
	OUT version_pages bigint,
	OUT oldest_version_xid xid)
RETURNS record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_file_state';
COMMENT ON FUNCTION rowan.file_state(regclass)
IS 'what three pages say of a Rowan table or index; NULL, at once, if it is gone or locked '
	'exclusively';

CREATE VIEW rowan.trees AS
	SELECT c.oid::regclass AS relation,
		a.amname AS method,
		s.height,
		s.blocks,
		s.high_water - s.free_pages - s.version_pages - 1 AS tree_pages,
		s.version_pages,
		s.free_pages,
		s.blocks - s.high_water AS unused_pages,
		s.blocks * pg_catalog.current_setting('block_size')::bigint AS bytes
	FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_am a ON a.oid = c.relam,
		LATERAL rowan.file_state(c.oid) s
	WHERE a.amname IN ('rowan', 'rowan_btree')
		AND c.relkind IN ('r', 'm', 't', 'i') AND c.relpersistence <> 't'
	ORDER BY s.blocks DESC NULLS LAST, c.oid;
COMMENT ON VIEW rowan.trees
IS 'Rowan tables and indexes of this database: height and pages of each, without reading them';

CREATE VIEW rowan.version_holders AS
	SELECT h.kind, h.pid, h.name, h.xid, pg_catalog.age(h.xid) AS age, h.since, h.state,
		h.query
	FROM (
		SELECT CASE a.backend_type WHEN 'walsender' THEN 'standby' ELSE 'session' END AS kind,
			a.pid,
			a.application_name AS name,
			CASE WHEN a.backend_xmin IS NULL
					OR pg_catalog.age(a.backend_xid) > pg_catalog.age(a.backend_xmin)
				THEN a.backend_xid ELSE a.backend_xmin END AS xid,
			coalesce(a.xact_start, a.backend_start) AS since,
			a.state,
			a.query
		FROM pg_catalog.pg_stat_activity a
		WHERE a.pid <> pg_catalog.pg_backend_pid()
			AND (a.datname = pg_catalog.current_database() OR a.datname IS NULL
				OR a.backend_type = 'walsender')
			AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
		UNION ALL
		SELECT 'prepared transaction', NULL, p.gid, p.transaction, p.prepared, NULL, NULL
		FROM pg_catalog.pg_prepared_xacts p
		WHERE p.database = pg_catalog.current_database()
		UNION ALL
		SELECT 'replication slot', r.active_pid, r.slot_name, r.xmin, NULL, NULL, NULL
		FROM pg_catalog.pg_replication_slots r
		WHERE r.xmin IS NOT NULL) h
	ORDER BY pg_catalog.age(h.xid) DESC, h.since;
COMMENT ON VIEW rowan.version_holders
IS 'whose snapshots and transactions keep older versions of rows in this database, oldest first: '
	'pid, xid, age';

CREATE VIEW rowan.versions AS
	SELECT c.oid::regclass AS relation,
		s.version_pages AS pages,
		s.version_pages * pg_catalog.current_setting('block_size')::bigint AS bytes,
		s.oldest_version_xid AS oldest_xid,
		CASE WHEN s.oldest_version_xid::text <> '0'
			THEN pg_catalog.age(s.oldest_version_xid) END AS age,
		h.kind AS held_by,
		h.pid,
		h.name,
		h.xid AS holder_xid,
		h.since
	FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_am a ON a.oid = c.relam
		CROSS JOIN LATERAL rowan.file_state(c.oid) s
		LEFT JOIN LATERAL (
			SELECT * FROM rowan.version_holders v
			WHERE pg_catalog.age(v.xid) >= pg_catalog.age(s.oldest_version_xid)
			ORDER BY v.age DESC, v.since LIMIT 1) h ON true
	WHERE a.amname = 'rowan' AND c.relkind IN ('r', 'm', 't') AND c.relpersistence <> 't'
		AND s.version_pages > 0
	ORDER BY s.version_pages DESC, c.oid;
COMMENT ON VIEW rowan.versions
IS 'Rowan tables with older versions of rows, and who keeps them: nobody if held_by is null, '
	'then later writers use the space again';

CREATE FUNCTION rowan.tree_activity(
	OUT splits bigint,
	OUT root_splits bigint,
	OUT merges bigint,
	OUT root_collapses bigint,
	OUT page_moves bigint,
	OUT version_pages_added bigint,
	OUT version_pages_freed bigint,
	OUT since timestamptz)
RETURNS record
LANGUAGE C STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rowan_tree_activity';
COMMENT ON FUNCTION rowan.tree_activity()
IS 'what was done to trees and version stores of all databases, since the server started or '
	'counters were reset';

CREATE VIEW rowan.tree_activity AS SELECT * FROM rowan.tree_activity();
COMMENT ON VIEW rowan.tree_activity
IS 'what was done to trees and version stores of all databases, since the server started or '
	'counters were reset';

-- What uses the view goes on doing so: it gets another column at its end.
CREATE OR REPLACE VIEW rowan.pool_stat AS
	SELECT p.*, a.since FROM rowan.pool_stat() p, rowan.tree_activity() a;
COMMENT ON VIEW rowan.pool_stat
IS 'state of Rowan''s buffer pool now, and its counters since the server started or they were '
	'reset';
COMMENT ON FUNCTION rowan.pool_stat()
IS 'state of Rowan''s buffer pool now, and its counters since the server started or they were '
	'reset';

--
-- The pool worker, and checkpoints
--
CREATE FUNCTION rowan.worker_stat(
	OUT armed boolean,
	OUT writers integer,
	OUT last_tick timestamptz,
	OUT clean_writes bigint,
	OUT flushes bigint,
	OUT flush_writes bigint,
	OUT flush_ms double precision,
	OUT last_flush timestamptz,
	OUT last_flush_writes bigint,
	OUT flushing_since timestamptz,
	OUT since timestamptz)
RETURNS record
LANGUAGE C STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rowan_worker_stat';
COMMENT ON FUNCTION rowan.worker_stat()
IS 'the pool worker now, and what it and flushes for checkpoints have written';

CREATE VIEW rowan.worker_stat AS
	SELECT (SELECT pg_catalog.min(a.pid) FROM pg_catalog.pg_stat_activity a
			WHERE a.backend_type IN ('rowan pool worker', 'rowan recovery writer')) AS pid,
		w.*
	FROM rowan.worker_stat() w;
COMMENT ON VIEW rowan.worker_stat
IS 'the pool worker now, and what it and flushes for checkpoints have written';

CREATE FUNCTION rowan.reset_stats()
RETURNS void
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_reset_stats';
COMMENT ON FUNCTION rowan.reset_stats()
IS 'lets the counters of pool_stat, tree_activity and worker_stat begin at zero';

--
-- Pictures
--
CREATE FUNCTION rowan.page_svg(rel regclass, block bigint)
RETURNS text
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_page_svg';
COMMENT ON FUNCTION rowan.page_svg(regclass, bigint)
IS 'a picture (SVG) of a page of a Rowan table or index: header, slots, gap, cells, slack, dead '
	'bytes';

CREATE FUNCTION rowan.page_svg(page bytea)
RETURNS text
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rowan_page_svg_bytes';
COMMENT ON FUNCTION rowan.page_svg(bytea)
IS 'a picture (SVG) of a Rowan page given as bytes';

CREATE FUNCTION rowan.tree_svg(rel regclass)
RETURNS text
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_tree_svg';
COMMENT ON FUNCTION rowan.tree_svg(regclass)
IS 'a picture (SVG) of the tree of a Rowan table or index, level by level, and of what each '
	'block of its file is; reads all of it';

--
-- Checking, and damaged tables.  What depends on the functions as they were has to be dropped
-- before.
--
DROP FUNCTION rowan.verify(regclass);
CREATE FUNCTION rowan.verify(rel regclass,
	OUT block bigint, OUT problem text, OUT severity text, OUT advice text)
RETURNS SETOF record
LANGUAGE C PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_verify';
COMMENT ON FUNCTION rowan.verify(regclass)
IS 'checks every page and link of a Rowan table or index, while others use it; one row for each '
	'problem, with what to do about it';

DROP FUNCTION rowan.verify(regclass, boolean);
CREATE FUNCTION rowan.verify(index regclass, heapallindexed boolean,
	OUT block bigint, OUT problem text, OUT severity text, OUT advice text)
RETURNS SETOF record
LANGUAGE C PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_verify_both_ways';
COMMENT ON FUNCTION rowan.verify(regclass, boolean)
IS 'checks every page and link of a rowan_btree index, and with heapallindexed its entries and the '
	'table''s rows against each other; one row for each problem, with what to do about it';

CREATE FUNCTION rowan.verify_database(heapallindexed boolean DEFAULT true,
	part integer DEFAULT 1, parts integer DEFAULT 1,
	OUT relation regclass, OUT block bigint, OUT problem text, OUT severity text, OUT advice text)
RETURNS SETOF record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_verify_database';
COMMENT ON FUNCTION rowan.verify_database(boolean, integer, integer)
IS 'rowan.verify of all Rowan tables and rowan_btree indexes of the database, or of one of so many '
	'parts of them, for several sessions';

CREATE FUNCTION rowan.verify_progress(
	OUT pid integer,
	OUT database oid,
	OUT relation oid,
	OUT pages_done bigint,
	OUT pages bigint,
	OUT relations_done bigint,
	OUT relations bigint)
RETURNS SETOF record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_verify_progress';
COMMENT ON FUNCTION rowan.verify_progress()
IS 'verifications that are under way, and how far they have come';

CREATE VIEW rowan.verify_progress AS
	SELECT p.pid,
		d.datname AS database,
		CASE WHEN d.datname = pg_catalog.current_database()
			THEN p.relation::regclass END AS relation,
		p.pages_done,
		p.pages,
		p.relations_done,
		p.relations
	FROM rowan.verify_progress() p LEFT JOIN pg_catalog.pg_database d ON d.oid = p.database;
COMMENT ON VIEW rowan.verify_progress
IS 'verifications that are under way, and how far they have come: pages of the relation, relations '
	'of the database';

CREATE FUNCTION rowan.repair(rel regclass, OUT part text, OUT action text)
RETURNS SETOF record
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'rowan_repair';
COMMENT ON FUNCTION rowan.repair(regclass)
IS 'makes anew what can be made without losing a row: of a table the free list, counts, the '
	'visibility map and the free space map; an index; says what it did';

CREATE FUNCTION rowan.salvage(source regclass, target regclass, versions text DEFAULT 'visible',
	OUT severity text,
	OUT block bigint,
	OUT problem text,
	OUT first_row tid,
	OUT last_row tid)
RETURNS SETOF record
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'rowan_salvage';
COMMENT ON FUNCTION rowan.salvage(regclass, regclass, text)
IS 'copies the rows of a damaged Rowan table that can be read into another table; one row for '
	'each thing that is missing or wrong, and one that counts';

--
-- Privileges: none for everybody, but what structure is, monitoring roles may see.  What was
-- granted on objects of 0.1.0 stays.
--
REVOKE ALL ON FUNCTION rowan.pool_relations(), rowan.file_state(regclass),
	rowan.verify(regclass), rowan.verify(regclass, boolean),
	rowan.verify_database(boolean, integer, integer), rowan.verify_progress(),
	rowan.tree_activity(), rowan.worker_stat(), rowan.reset_stats(),
	rowan.page_svg(regclass, bigint), rowan.page_svg(bytea), rowan.tree_svg(regclass) FROM PUBLIC;
REVOKE ALL ON rowan.pool_relations, rowan.trees, rowan.version_holders,
	rowan.versions, rowan.tree_activity, rowan.worker_stat, rowan.verify_progress FROM PUBLIC;

GRANT EXECUTE ON FUNCTION rowan.verify(regclass) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.verify(regclass, boolean) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.verify_database(boolean, integer, integer) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.verify_progress() TO pg_monitor;

-- they ask whether the tables are one's own
GRANT EXECUTE ON FUNCTION rowan.repair(regclass) TO PUBLIC;
GRANT EXECUTE ON FUNCTION rowan.salvage(regclass, regclass, text) TO PUBLIC;

GRANT EXECUTE ON FUNCTION rowan.pool_relations() TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.file_state(regclass) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.tree_activity() TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.worker_stat() TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.page_svg(regclass, bigint) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.page_svg(bytea) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.tree_svg(regclass) TO pg_monitor;
GRANT SELECT ON rowan.pool_relations, rowan.trees, rowan.version_holders,
	rowan.versions, rowan.tree_activity, rowan.worker_stat, rowan.verify_progress TO pg_monitor;
