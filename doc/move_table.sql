-- Moves a large table to another access method while it is in use:  to Rowan, or back to heap.
--
--	\i move_table.sql                           installs the procedures, in schema rowan_move
--	CALL rowan_move.begin('orders', 'rowan');   notes changes from now on
--	CALL rowan_move.copy('orders');             copies, then catches up; the long part
--	CALL rowan_move.finish('orders');           catches up and exchanges, under a lock
--	DROP TABLE orders_moved_away;               when you are content
--	DROP SCHEMA rowan_move CASCADE;
--
-- Instead of finish, CALL rowan_move.cancel('orders'): as if nothing had been.
--
-- begin waits for transactions that have written to the table (ShareRowExclusiveLock, for a
-- moment).  copy may be interrupted, and called again: it goes on where it was.  finish takes
-- AccessExclusiveLock, for as long as the changes since the last round take; it gives up after
-- max_wait and may be called again.  Nobody else may change the table's definition meanwhile.
--
-- Indexes, constraints, defaults, identity, statistics objects, comments of columns, storage
-- parameters, privileges, owner and triggers come along.  Foreign keys, of the table and to it, are
-- made anew as NOT VALID: finish says how to validate them, which locks little.  Refused are tables
-- without a primary key, partitions and partitioned or inherited tables, row security, rules,
-- replica identities other than the default, membership in publications, exclusion constraints, and
-- tables that views or other objects depend on, for these know a table by its OID, which is new.
\set ON_ERROR_STOP 1
BEGIN;
CREATE SCHEMA rowan_move;
COMMENT ON SCHEMA rowan_move IS 'moving tables to another access method while they are in use';

CREATE TABLE rowan_move.job (
	source oid PRIMARY KEY,
	copy oid NOT NULL,
	schema name NOT NULL,
	name name NOT NULL,
	keys name[] NOT NULL,			-- of the primary key
	columns name[] NOT NULL,		-- those that can be inserted
	copied boolean NOT NULL DEFAULT false,
	indexed boolean NOT NULL DEFAULT false
);

-- a, b, c; with a prefix: p.a, p.b, p.c
CREATE FUNCTION rowan_move.list(columns name[], prefix text DEFAULT '') RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT string_agg(prefix || quote_ident(c), ', ' ORDER BY n)
	FROM unnest(columns) WITH ORDINALITY u (c, n)
$$;

CREATE FUNCTION rowan_move.job_of(source regclass) RETURNS rowan_move.job
LANGUAGE plpgsql AS $$
DECLARE
	job rowan_move.job;
BEGIN
	SELECT * INTO job FROM rowan_move.job j WHERE j.source = job_of.source;
	IF NOT FOUND THEN
		RAISE 'table % is not being moved', source
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Call rowan_move.begin first.';
	END IF;
	RETURN job;
END $$;

-- Why the table cannot be moved, or NULL.
CREATE FUNCTION rowan_move.obstacle(source regclass) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT CASE
		WHEN c.relkind <> 'r' OR c.relpersistence = 't' THEN 'it is not an ordinary table'
		WHEN c.relispartition OR
			EXISTS (SELECT FROM pg_inherits WHERE source IN (inhrelid, inhparent))
			THEN 'it is inherited, or a partition'
		WHEN NOT EXISTS (SELECT FROM pg_index WHERE indrelid = source AND indisprimary)
			THEN 'it has no primary key'
		WHEN c.relrowsecurity OR EXISTS (SELECT FROM pg_policy WHERE polrelid = source)
			THEN 'it has row security'
		WHEN EXISTS (SELECT FROM pg_rewrite WHERE ev_class = source) THEN 'it has rules'
		WHEN c.relreplident <> 'd' THEN 'it has a replica identity of its own'
		WHEN EXISTS (SELECT FROM pg_publication_rel WHERE prrelid = source)
			THEN 'it is in a publication'
		WHEN EXISTS (SELECT FROM pg_constraint WHERE conrelid = source AND contype = 'x')
			THEN 'it has exclusion constraints'
		WHEN EXISTS (SELECT FROM pg_index
				WHERE indrelid = source AND NOT (indisvalid AND indisready))
			THEN 'it has an invalid index'
		ELSE (SELECT pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on it'
			FROM pg_depend d
			WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = source AND d.deptype <> 'i'
				AND d.classid NOT IN ('pg_constraint'::regclass, 'pg_trigger'::regclass,
					'pg_attrdef'::regclass, 'pg_statistic_ext'::regclass)
				AND NOT (d.classid = 'pg_class'::regclass AND d.objid IN (
					SELECT indexrelid FROM pg_index WHERE indrelid = source
					UNION SELECT oid FROM pg_class WHERE relkind = 'S'))
			LIMIT 1)
		END
	FROM pg_class c WHERE c.oid = source
$$;

-- The trigger's: which keys are to be looked at again.  Arguments: columns of the key.
CREATE FUNCTION rowan_move.note_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'TRUNCATE' THEN
		RAISE 'table % cannot be truncated while it is being moved', TG_RELID::regclass
			USING ERRCODE = 'object_in_use', HINT = 'Call rowan_move.cancel first.';
	END IF;
	IF TG_OP <> 'INSERT' THEN
		EXECUTE format('INSERT INTO rowan_move.changed_%s SELECT %s', TG_RELID,
			rowan_move.list(TG_ARGV::name[], '$1.')) USING OLD;
	END IF;
	IF TG_OP <> 'DELETE' THEN
		EXECUTE format('INSERT INTO rowan_move.changed_%s SELECT %s', TG_RELID,
			rowan_move.list(TG_ARGV::name[], '$1.')) USING NEW;
	END IF;
	RETURN NULL;
END $$;

CREATE PROCEDURE rowan_move.begin(source regclass, method name)
LANGUAGE plpgsql AS $$
DECLARE
	why text := rowan_move.obstacle(source);
	home name := (SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE c.oid = source);
	called name := (SELECT relname FROM pg_class WHERE oid = source);
	keys name[];
	columns name[];
	options text[];
	copy regclass;
BEGIN
	IF why IS NOT NULL THEN
		RAISE 'table % cannot be moved: %', source, why
			USING ERRCODE = 'feature_not_supported',
				HINT = 'ALTER TABLE ... SET ACCESS METHOD moves every table, under a lock.';
	END IF;
	SELECT array_agg(attname ORDER BY n) INTO keys
	FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY u (k, n), pg_attribute a
	WHERE i.indrelid = source AND i.indisprimary AND a.attrelid = source AND a.attnum = u.k
		AND n <= i.indnkeyatts;
	SELECT array_agg(attname ORDER BY attnum) INTO columns
	FROM pg_attribute WHERE attrelid = source AND attnum > 0 AND NOT attisdropped
		AND attgenerated = '';
	EXECUTE format('CREATE TABLE %I.%I (LIKE %s INCLUDING ALL EXCLUDING INDEXES) USING %I',
		home, called || '_move', source, method);
	copy := format('%I.%I', home, called || '_move');
	SELECT reloptions INTO options FROM pg_class WHERE oid = source;
	IF options IS NOT NULL THEN
		EXECUTE format('ALTER TABLE %s SET (%s)', copy, array_to_string(options, ', '));
	END IF;
	EXECUTE format('CREATE TABLE rowan_move.changed_%s AS SELECT %s FROM %s LIMIT 0',
		source::oid, rowan_move.list(keys), source);
	INSERT INTO rowan_move.job VALUES (source, copy, home, called, keys, columns);
	EXECUTE format('CREATE TRIGGER rowan_move AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
		'EXECUTE FUNCTION rowan_move.note_change(%s)', source,
		(SELECT string_agg(quote_literal(k), ', ' ORDER BY n)
			FROM unnest(keys) WITH ORDINALITY u (k, n)));
	EXECUTE format('CREATE TRIGGER rowan_move_truncate BEFORE TRUNCATE ON %s '
		'EXECUTE FUNCTION rowan_move.note_change()', source);
	EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER rowan_move', source);
END $$;

-- Makes the copy what the source is to this transaction's snapshot, which all statements share.
-- All rows that have changed are taken away before any is put in: no unique index objects.
CREATE FUNCTION rowan_move.catch_up(job rowan_move.job) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
	changed text := format('rowan_move.changed_%s', job.source);
	keys text := rowan_move.list(job.keys);
BEGIN
	EXECUTE format('CREATE TEMP TABLE rowan_move_round ON COMMIT DROP AS '
		'SELECT DISTINCT %s FROM %s', keys, changed);
	EXECUTE 'DELETE FROM ' || changed;
	EXECUTE format('DELETE FROM %s t USING rowan_move_round r WHERE (%s) = (%s)',
		job.copy::regclass, rowan_move.list(job.keys, 't.'), rowan_move.list(job.keys, 'r.'));
	EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s t '
		'JOIN rowan_move_round r ON (%s) = (%s)', job.copy::regclass,
		rowan_move.list(job.columns), rowan_move.list(job.columns, 't.'), job.source::regclass,
		rowan_move.list(job.keys, 't.'), rowan_move.list(job.keys, 'r.'));
	SELECT count(*) INTO n FROM rowan_move_round;
	DROP TABLE rowan_move_round;
	RETURN n;
END $$;

-- An index of the source on the copy, by another name.
CREATE FUNCTION rowan_move.copy_index(job rowan_move.job, index oid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	called name := (SELECT relname FROM pg_class WHERE oid = index);
	new_name name := format('move_%s', index);
	head text;
	definition text := pg_get_indexdef(index);
	con pg_constraint;
BEGIN
	head := format('INDEX %I ON %s ', called, (SELECT format('%I.%I', job.schema, job.name)));
	IF strpos(definition, head) = 0 THEN
		RAISE 'unexpected definition of an index: %', definition;
	END IF;
	EXECUTE replace(definition, head, format('INDEX %I ON %s ', new_name, job.copy::regclass));
	SELECT * INTO con FROM pg_constraint WHERE conindid = index AND conrelid = job.source
		AND contype IN ('p', 'u');
	IF FOUND THEN
		EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s%s', job.copy::regclass,
			new_name, CASE con.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, new_name,
			CASE WHEN con.condeferrable THEN ' DEFERRABLE' ELSE '' END,
			CASE WHEN con.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END);
	END IF;
END $$;

CREATE PROCEDURE rowan_move.copy(source regclass, rows_at_once int DEFAULT 10000)
LANGUAGE plpgsql AS $$
DECLARE
	job rowan_move.job := rowan_move.job_of(source);
	n bigint;
	item record;
BEGIN
	IF NOT job.indexed THEN
		-- the key's index first: the copy is asked where it ends
		IF NOT EXISTS (SELECT FROM pg_index WHERE indrelid = job.copy) THEN
			PERFORM rowan_move.copy_index(job, indexrelid) FROM pg_index
				WHERE indrelid = source AND indisprimary;
		END IF;
		COMMIT;
		WHILE NOT job.copied LOOP
			EXECUTE format('INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM %3$s '
				'WHERE NOT EXISTS (SELECT FROM %1$s) OR (%4$s) > (SELECT %4$s FROM %1$s '
				'ORDER BY %5$s LIMIT 1) ORDER BY %4$s LIMIT %6$s',
				job.copy::regclass, rowan_move.list(job.columns), source, rowan_move.list(job.keys),
				(SELECT string_agg(quote_ident(k) || ' DESC', ', ' ORDER BY i)
					FROM unnest(job.keys) WITH ORDINALITY u (k, i)), rows_at_once);
			GET DIAGNOSTICS n = ROW_COUNT;
			IF n = 0 THEN
				UPDATE rowan_move.job j SET copied = true WHERE j.source = job.source;
				job.copied := true;
			END IF;
			COMMIT;
		END LOOP;
		-- a snapshot of all of it, before there are other unique indexes
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
		PERFORM rowan_move.catch_up(job);
		COMMIT;
		FOR item IN SELECT indexrelid FROM pg_index
			WHERE indrelid = source AND NOT indisprimary ORDER BY 1 LOOP
			PERFORM rowan_move.copy_index(job, item.indexrelid);
		END LOOP;
		UPDATE rowan_move.job j SET indexed = true WHERE j.source = job.source;
		COMMIT;
	END IF;
	FOR i IN 1..10 LOOP
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
		n := rowan_move.catch_up(job);
		COMMIT;
		EXIT WHEN n < rows_at_once / 100;
	END LOOP;
	EXECUTE format('ANALYZE %s', job.copy::regclass);
END $$;

-- What belongs to the source, as statements for who will have its name.
CREATE FUNCTION rowan_move.belongings(job rowan_move.job) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
	SELECT statement FROM (
		SELECT 1, format('GRANT %s ON %I.%I TO %s%s', privilege_type, job.schema, job.name,
			CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
			CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
		FROM pg_class, aclexplode(relacl) WHERE oid = job.source
		UNION ALL
		SELECT 1, format('GRANT %s (%I) ON %I.%I TO %s', privilege_type, attname, job.schema,
			job.name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
		FROM pg_attribute, aclexplode(attacl) WHERE attrelid = job.source AND NOT attisdropped
		UNION ALL
		SELECT 2, pg_get_triggerdef(oid) FROM pg_trigger
		WHERE tgrelid = job.source AND NOT tgisinternal AND tgname NOT LIKE 'rowan\_move%'
		UNION ALL
		SELECT 3, format('ALTER TABLE %I.%I %s TRIGGER %I', job.schema, job.name,
			CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
				ELSE 'ENABLE ALWAYS' END, tgname)
		FROM pg_trigger WHERE tgrelid = job.source AND NOT tgisinternal AND tgenabled <> 'O'
			AND tgname NOT LIKE 'rowan\_move%'
		UNION ALL
		SELECT 4, format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', job.schema, job.name, conname,
			regexp_replace(pg_get_constraintdef(oid), '( NOT VALID)?$', ' NOT VALID'))
		FROM pg_constraint WHERE conrelid = job.source AND contype = 'f'
			AND confrelid <> job.source
		UNION ALL
		SELECT 5, format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s',
			conrelid::regclass, conname, conname,
			regexp_replace(pg_get_constraintdef(oid), '( NOT VALID)?$', ' NOT VALID'))
		FROM pg_constraint WHERE confrelid = job.source AND contype = 'f'
			AND conrelid <> job.source
		UNION ALL
		SELECT 6, format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', job.schema, job.name, conname,
			regexp_replace(pg_get_constraintdef(oid), '( NOT VALID)?$', ' NOT VALID'))
		FROM pg_constraint WHERE confrelid = job.source AND contype = 'f'
			AND conrelid = job.source
		UNION ALL
		SELECT 7, format('COMMENT ON TABLE %I.%I IS %L', job.schema, job.name,
			obj_description(job.source, 'pg_class'))
		WHERE obj_description(job.source, 'pg_class') IS NOT NULL
	) s (place, statement) ORDER BY place
$$;

CREATE FUNCTION rowan_move.exchange(job rowan_move.job) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	statements text[] := ARRAY(SELECT rowan_move.belongings(job));
	item record;
	old name := job.name || '_moved_away';
	owner text := (SELECT relowner::regrole::text FROM pg_class WHERE oid = job.source);
	copied_sequence text;
BEGIN
	EXECUTE format('DROP TRIGGER rowan_move ON %s', job.source::regclass);
	EXECUTE format('DROP TRIGGER rowan_move_truncate ON %s', job.source::regclass);
	EXECUTE format('ALTER TABLE %s OWNER TO %s', job.copy::regclass, owner);
	-- sequences: of serial columns they belong to the new table, those of identity go on counting
	FOR item IN SELECT s.oid::regclass AS sequence, s.relowner, a.attname, d.deptype, a.attidentity
		FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
			JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
			AND d.refobjid = job.source AND d.deptype IN ('a', 'i') LOOP
		IF item.attidentity = '' THEN
			EXECUTE format('ALTER SEQUENCE %s OWNED BY %s.%I', item.sequence, job.copy::regclass,
				item.attname);
		ELSE
			copied_sequence := pg_get_serial_sequence(job.copy::regclass::text, item.attname);
			EXECUTE format('SELECT setval(%L, last_value, is_called) FROM %s', copied_sequence,
				item.sequence);
		END IF;
	END LOOP;
	EXECUTE format('ALTER TABLE %s RENAME TO %I', job.source::regclass, old);
	EXECUTE format('ALTER TABLE %s RENAME TO %I', job.copy::regclass, job.name);
	FOR item IN SELECT o.oid, o.relname, n.oid AS new FROM pg_index i
		JOIN pg_class o ON o.oid = i.indexrelid JOIN pg_index j ON j.indrelid = job.copy
		JOIN pg_class n ON n.oid = j.indexrelid AND n.relname = format('move_%s', o.oid)
		WHERE i.indrelid = job.source LOOP
		EXECUTE format('ALTER INDEX %s RENAME TO %I', item.oid::regclass,
			'away_' || item.oid);
		EXECUTE format('ALTER INDEX %s RENAME TO %I', item.new::regclass, item.relname);
	END LOOP;
	FOR i IN 1..coalesce(array_length(statements, 1), 0) LOOP
		EXECUTE statements[i];
	END LOOP;
	-- what it refers to is the new table's affair now
	FOR item IN SELECT conname FROM pg_constraint
		WHERE conrelid = job.source AND contype = 'f' LOOP
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', job.source::regclass, item.conname);
	END LOOP;
	EXECUTE format('DROP TABLE rowan_move.changed_%s', job.source);
	DELETE FROM rowan_move.job j WHERE j.source = job.source;
END $$;

CREATE PROCEDURE rowan_move.finish(source regclass, max_wait interval DEFAULT '5 s')
LANGUAGE plpgsql AS $$
DECLARE
	job rowan_move.job := rowan_move.job_of(source);
	item record;
	why text := rowan_move.obstacle(source);
BEGIN
	IF NOT job.indexed OR why IS NOT NULL THEN
		RAISE 'table % is not ready: %', source, coalesce(why, 'it has not been copied')
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Call rowan_move.copy first.';
	END IF;
	COMMIT;
	COMMIT;
	SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
	PERFORM rowan_move.catch_up(job);
	COMMIT;
	PERFORM set_config('lock_timeout', (extract(epoch FROM max_wait) * 1000)::bigint || 'ms', true);
	EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', source);
	PERFORM rowan_move.catch_up(job);
	PERFORM rowan_move.exchange(job);
	COMMIT;
	FOR item IN SELECT conrelid::regclass AS tab, conname FROM pg_constraint
		WHERE job.copy IN (conrelid, confrelid) AND contype = 'f'
			AND NOT convalidated LOOP
		RAISE NOTICE 'to do: ALTER TABLE % VALIDATE CONSTRAINT %', item.tab,
			quote_ident(item.conname);
	END LOOP;
END $$;

CREATE PROCEDURE rowan_move.cancel(source regclass)
LANGUAGE plpgsql AS $$
DECLARE
	job rowan_move.job := rowan_move.job_of(source);
BEGIN
	EXECUTE format('DROP TRIGGER rowan_move ON %s', source);
	EXECUTE format('DROP TRIGGER rowan_move_truncate ON %s', source);
	EXECUTE format('DROP TABLE %s', job.copy::regclass);
	EXECUTE format('DROP TABLE rowan_move.changed_%s', job.source);
	DELETE FROM rowan_move.job j WHERE j.source = job.source;
END $$;
COMMIT;
