-- bench_size(rel): bytes on disk of the table with its TOAST, of its indexes, of version
-- storage outside the table's files (none here), and of live pages.
SET client_min_messages = warning;
CREATE OR REPLACE FUNCTION bench_size(rel regclass, OUT tbl bigint, OUT idx bigint, OUT undo bigint, OUT live bigint)
LANGUAGE sql AS $$
  SELECT pg_table_size(rel), pg_indexes_size(rel), 0::bigint, pg_table_size(rel) + pg_indexes_size(rel)
$$;
