/* rowan--0.1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION rowan" to load this file. \quit

--
-- The schema.  What is in it, users and superusers call by name: so nobody else may have put anything
-- into it, or be able to.  It belongs to the extension, and goes with it.  Names are qualified all through this
-- script; the search path is pg_catalog, then pg_temp, in which no functions and operators are looked for.
--
DO $script$
DECLARE
	existing pg_catalog.oid;
	owner pg_catalog.name;
	others pg_catalog.text;
	content pg_catalog.text;
BEGIN
	SELECT n.oid, r.rolname,
		(SELECT pg_catalog.string_agg(DISTINCT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC'
				ELSE a.grantee::pg_catalog.regrole::pg_catalog.text END, ', ')
			FROM pg_catalog.aclexplode(n.nspacl) a
			WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
				AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner)
		INTO existing, owner, others
		FROM pg_catalog.pg_namespace n
			LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
		WHERE n.nspname OPERATOR(pg_catalog.=) 'rowan';
	IF existing IS NULL THEN
		CREATE SCHEMA rowan;
		RETURN;
	END IF;
	IF owner IS DISTINCT FROM CURRENT_USER THEN
		RAISE EXCEPTION 'schema "rowan" belongs to role "%"', owner
			USING ERRCODE = 'insufficient_privilege',
				DETAIL = 'Its owner could put functions of his own among those of the extension.',
				HINT = 'Rename or drop that schema; CREATE EXTENSION makes its own.';
	END IF;
	IF others IS NOT NULL THEN
		RAISE EXCEPTION 'other roles may create objects in schema "rowan"'
			USING ERRCODE = 'insufficient_privilege',
				DETAIL = pg_catalog.format('CREATE was granted to %s.', others),
				HINT = 'Revoke that, or drop the schema; CREATE EXTENSION makes its own.';
	END IF;
	SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) INTO content
		FROM pg_catalog.pg_depend d
		WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
			AND d.refobjid OPERATOR(pg_catalog.=) existing
		LIMIT 1;
	IF content IS NOT NULL THEN
		RAISE EXCEPTION 'schema "rowan" is not empty'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = pg_catalog.format('It has %s.', content),
				HINT = 'Rename or drop that schema; CREATE EXTENSION makes its own.';
	END IF;
	ALTER EXTENSION rowan ADD SCHEMA rowan;
END
$script$;
COMMENT ON SCHEMA rowan IS 'functions of the Rowan storage engine';

-- Catalog entries can be made without the library in memory; tables cannot.
DO $script$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'rowan.buffers') THEN
		RAISE WARNING 'rowan is not loaded by shared_preload_libraries'
			USING DETAIL = 'The extension is installed, but its tables and indexes can neither be made nor read.',
				HINT = 'Add rowan to shared_preload_libraries in postgresql.conf and restart the server.';
	END IF;
END
$script$;

--
-- The table access method
--
CREATE FUNCTION rowan.rowan_table_handler(internal)
RETURNS table_am_handler
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'rowan_table_handler';
COMMENT ON FUNCTION rowan.rowan_table_handler(internal)
IS 'handler of the table access method rowan';

CREATE ACCESS METHOD rowan TYPE TABLE HANDLER rowan.rowan_table_handler;
COMMENT ON ACCESS METHOD rowan
IS 'table storage in a B+tree, with in-place update and an own buffer pool';

--
-- The index access method, and operator classes for it
--
CREATE FUNCTION rowan.btree_handler(internal)
RETURNS index_am_handler
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'rowan_btree_handler';
COMMENT ON FUNCTION rowan.btree_handler(internal)
IS 'handler of the index access method rowan_btree';

CREATE ACCESS METHOD rowan_btree TYPE INDEX HANDLER rowan.btree_handler;
COMMENT ON ACCESS METHOD rowan_btree
IS 'index in a B+tree of Rowan''s pages, in Rowan''s buffer pool';

CREATE FUNCTION rowan.adopt_operator_classes()
RETURNS integer
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'rowan_adopt_operator_classes';
COMMENT ON FUNCTION rowan.adopt_operator_classes()
IS 'gives rowan_btree an operator class for each one of btree that it has none for, as after CREATE EXTENSION citext; returns how many';

SELECT rowan.adopt_operator_classes();

--
-- Checking
--
CREATE FUNCTION rowan.verify(rel regclass, OUT block bigint, OUT problem text)
RETURNS SETOF record
LANGUAGE C PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_verify';
COMMENT ON FUNCTION rowan.verify(regclass)
IS 'checks every page and link of a Rowan table or index, while others use it; one row for each problem';

CREATE FUNCTION rowan.verify(index regclass, heapallindexed boolean,
	OUT block bigint, OUT problem text)
RETURNS SETOF record
LANGUAGE C PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_verify_both_ways';
COMMENT ON FUNCTION rowan.verify(regclass, boolean)
IS 'checks every page and link of a rowan_btree index, and with heapallindexed its entries and the table''s rows against each other';

--
-- Pages
--
CREATE FUNCTION rowan.get_page(rel regclass, block bigint)
RETURNS bytea
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_get_page';
COMMENT ON FUNCTION rowan.get_page(regclass, bigint)
IS 'a page of a Rowan table or index as it would be written to disk now';

CREATE FUNCTION rowan.page_header(rel regclass, block bigint,
	OUT lsn pg_lsn,
	OUT checksum integer,
	OUT lower integer,
	OUT upper integer,
	OUT special integer,
	OUT type text,
	OUT level integer,
	OUT self_block bigint,
	OUT right_block bigint,
	OUT low_fence bigint,
	OUT high_fence bigint,
	OUT next_key bigint,
	OUT page_xid xid,
	OUT page_cid cid,
	OUT newest_xid xid,
	OUT file_id bigint,
	OUT slots integer,
	OUT dead_bytes integer,
	OUT slack_bytes integer,
	OUT page_natts integer,
	OUT flags text[],
	OUT magic integer,
	OUT format_version integer,
	OUT crc bigint,
	OUT sum bigint,
	OUT problem text)
RETURNS record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_page_header';
COMMENT ON FUNCTION rowan.page_header(regclass, bigint)
IS 'header and trailer of a page of a Rowan table or index';

CREATE FUNCTION rowan.page_header(page bytea,
	OUT lsn pg_lsn,
	OUT checksum integer,
	OUT lower integer,
	OUT upper integer,
	OUT special integer,
	OUT type text,
	OUT level integer,
	OUT self_block bigint,
	OUT right_block bigint,
	OUT low_fence bigint,
	OUT high_fence bigint,
	OUT next_key bigint,
	OUT page_xid xid,
	OUT page_cid cid,
	OUT newest_xid xid,
	OUT file_id bigint,
	OUT slots integer,
	OUT dead_bytes integer,
	OUT slack_bytes integer,
	OUT page_natts integer,
	OUT flags text[],
	OUT magic integer,
	OUT format_version integer,
	OUT crc bigint,
	OUT sum bigint,
	OUT problem text)
RETURNS record
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rowan_page_header_bytes';
COMMENT ON FUNCTION rowan.page_header(bytea)
IS 'header and trailer of a Rowan page given as bytes';

CREATE FUNCTION rowan.page_items(rel regclass, block bigint,
	OUT slot integer,
	OUT "offset" integer,
	OUT size integer,
	OUT slack integer,
	OUT key bigint,
	OUT tid tid,
	OUT tag integer,
	OUT flags text[],
	OUT xmin xid,
	OUT cid cid,
	OUT older_block bigint,
	OUT older_offset integer,
	OUT lock_xid xid,
	OUT lock_bits integer,
	OUT forward tid,
	OUT token bigint,
	OUT natts integer,
	OUT nulls text,
	OUT data bytea,
	OUT child bigint,
	OUT stubs integer,
	OUT kind text,
	OUT superseder xid,
	OUT newer_tag integer,
	OUT prefix integer,
	OUT suffix integer,
	OUT problem text)
RETURNS SETOF record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_page_items';
COMMENT ON FUNCTION rowan.page_items(regclass, bigint)
IS 'rows, children or older versions on a page of a Rowan table; cells on a page of an index (keys: index_items)';

CREATE FUNCTION rowan.page_items(page bytea,
	OUT slot integer,
	OUT "offset" integer,
	OUT size integer,
	OUT slack integer,
	OUT key bigint,
	OUT tid tid,
	OUT tag integer,
	OUT flags text[],
	OUT xmin xid,
	OUT cid cid,
	OUT older_block bigint,
	OUT older_offset integer,
	OUT lock_xid xid,
	OUT lock_bits integer,
	OUT forward tid,
	OUT token bigint,
	OUT natts integer,
	OUT nulls text,
	OUT data bytea,
	OUT child bigint,
	OUT stubs integer,
	OUT kind text,
	OUT superseder xid,
	OUT newer_tag integer,
	OUT prefix integer,
	OUT suffix integer,
	OUT problem text)
RETURNS SETOF record
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rowan_page_items_bytes';
COMMENT ON FUNCTION rowan.page_items(bytea)
IS 'rows, children, older versions or cells of an index on a Rowan page given as bytes';

CREATE FUNCTION rowan.index_items(index regclass, block bigint,
	OUT slot integer,
	OUT kind text,
	OUT size integer,
	OUT head integer,
	OUT prefix integer,
	OUT natts integer,
	OUT key text,
	OUT tid tid,
	OUT tids tid[],
	OUT child bigint,
	OUT dead boolean,
	OUT problem text)
RETURNS SETOF record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_index_items';
COMMENT ON FUNCTION rowan.index_items(regclass, bigint)
IS 'fences, and children or entries with their keys, on a page of a rowan_btree index';

--
-- Files
--
CREATE FUNCTION rowan.file_header(rel regclass,
	OUT file_id bigint,
	OUT tree_kind integer,
	OUT page_size_kb integer,
	OUT high_water bigint,
	OUT free_head bigint,
	OUT free_count bigint,
	OUT version_head bigint,
	OUT version_tail bigint,
	OUT version_count bigint,
	OUT version_active bigint[])
RETURNS record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_file_header';
COMMENT ON FUNCTION rowan.file_header(regclass)
IS 'the file header of a Rowan table or index';

CREATE FUNCTION rowan.tree_stats(rel regclass,
	OUT height integer,
	OUT inner_pages bigint,
	OUT leaf_pages bigint,
	OUT version_pages bigint,
	OUT free_pages bigint,
	OUT unused_pages bigint,
	OUT rows bigint,
	OUT leaf_free_bytes bigint,
	OUT leaf_dead_bytes bigint,
	OUT leaf_slack_bytes bigint)
RETURNS record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_tree_stats';
COMMENT ON FUNCTION rowan.tree_stats(regclass)
IS 'height, pages, rows or index entries, and space of the tree of a Rowan table or index; reads its leaves';

CREATE FUNCTION rowan.version_store_stats(rel regclass,
	OUT pages bigint,
	OUT records bigint,
	OUT record_bytes bigint,
	OUT oldest_xid xid,
	OUT newest_xid xid)
RETURNS record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_version_store_stats';
COMMENT ON FUNCTION rowan.version_store_stats(regclass)
IS 'older row versions that a Rowan table keeps, and the oldest and newest transaction that superseded one';

--
-- WAL
--
CREATE FUNCTION rowan.wal_records(start_lsn pg_lsn, end_lsn pg_lsn,
	OUT start_lsn pg_lsn,
	OUT end_lsn pg_lsn,
	OUT prev_lsn pg_lsn,
	OUT xid xid,
	OUT kind text,
	OUT relation regclass,
	OUT reltablespace oid,
	OUT reldatabase oid,
	OUT relfilenode oid,
	OUT block bigint,
	OUT logical text,
	OUT record_length integer,
	OUT head_length integer,
	OUT main_data_length integer,
	OUT block_data_length integer,
	OUT fpi_length integer,
	OUT description text)
RETURNS SETOF record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_wal_records';
COMMENT ON FUNCTION rowan.wal_records(pg_lsn, pg_lsn)
IS 'Rowan''s WAL records between two LSNs: whose they are, their bytes, what they say';

CREATE FUNCTION rowan.wal_blocks(start_lsn pg_lsn, end_lsn pg_lsn,
	OUT start_lsn pg_lsn,
	OUT end_lsn pg_lsn,
	OUT xid xid,
	OUT kind text,
	OUT block_id integer,
	OUT part text,
	OUT relation regclass,
	OUT reltablespace oid,
	OUT reldatabase oid,
	OUT relfilenode oid,
	OUT fork text,
	OUT block bigint,
	OUT head_length integer,
	OUT data_length integer,
	OUT fpi_length integer,
	OUT description text)
RETURNS SETOF record
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_wal_blocks';
COMMENT ON FUNCTION rowan.wal_blocks(pg_lsn, pg_lsn)
IS 'the pages that Rowan''s WAL records between two LSNs change, and how';

--
-- The buffer pool
--
CREATE FUNCTION rowan.pool_stat(
	OUT frames bigint,
	OUT used bigint,
	OUT dirty bigint,
	OUT reads bigint,
	OUT writes bigint,
	OUT evictions bigint,
	OUT backend_writes bigint,
	OUT discards bigint,
	OUT flushes bigint,
	OUT armed boolean)
RETURNS record
LANGUAGE C STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'rowan_pool_stat';
COMMENT ON FUNCTION rowan.pool_stat()
IS 'state and counters of Rowan''s buffer pool since the server started';

CREATE VIEW rowan.pool_stat AS SELECT * FROM rowan.pool_stat();
COMMENT ON VIEW rowan.pool_stat
IS 'state and counters of Rowan''s buffer pool since the server started';

CREATE FUNCTION rowan.flush(rel regclass)
RETURNS void
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_flush';
COMMENT ON FUNCTION rowan.flush(regclass)
IS 'writes the changed pages of a Rowan table or index from the pool to its file';

CREATE FUNCTION rowan.prewarm(rel regclass)
RETURNS bigint
LANGUAGE C STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'rowan_prewarm';
COMMENT ON FUNCTION rowan.prewarm(regclass)
IS 'loads a Rowan table or index into the pool; returns the number of pages';

--
-- Privileges: all is closed, then opened to those who may.  Functions that show rows' bytes, whatever the table's
-- privileges and row security say, are the superuser's; those that show the structure only are for monitoring roles
-- too; rowan.prewarm asks for the privilege to read the table.
--
GRANT USAGE ON SCHEMA rowan TO PUBLIC;

REVOKE ALL ON ALL ROUTINES IN SCHEMA rowan FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA rowan FROM PUBLIC;

GRANT EXECUTE ON FUNCTION rowan.prewarm(regclass) TO PUBLIC;

-- as pg_walinspect's
GRANT EXECUTE ON FUNCTION rowan.wal_records(pg_lsn, pg_lsn) TO pg_read_server_files;
GRANT EXECUTE ON FUNCTION rowan.wal_blocks(pg_lsn, pg_lsn) TO pg_read_server_files;

GRANT EXECUTE ON FUNCTION rowan.page_header(regclass, bigint) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.page_header(bytea) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.file_header(regclass) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.tree_stats(regclass) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.version_store_stats(regclass) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.verify(regclass) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.verify(regclass, boolean) TO pg_monitor;
GRANT EXECUTE ON FUNCTION rowan.pool_stat() TO pg_monitor;
GRANT SELECT ON rowan.pool_stat TO pg_monitor;
