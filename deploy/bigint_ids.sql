-- Makes the ids of metrics BIGINT while runs go on: python main.py psql < deploy/bigint_ids.sql
-- It needs the rights of the owner, and free space for a second copy of the table. It may be stopped at any time, and then
-- goes on where it was. See docs/operating.md.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
SELECT atttypid = 'bigint'::regtype AS done FROM pg_attribute WHERE attrelid = 'metrics'::regclass AND attname = 'id' \gset
\if :done
    \echo the ids are BIGINT
    \q
\endif

DO $$ BEGIN
    IF to_regclass('pg_dist_partition') IS NOT NULL THEN
        IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'metrics'::regclass) THEN
            RAISE EXCEPTION 'metrics is distributed: its ids can become BIGINT only before that';
        END IF;
    END IF;
END $$;

-- Each new row gets its id in the new column, too.
ALTER TABLE metrics ADD COLUMN IF NOT EXISTS wide_id BIGINT;
CREATE OR REPLACE FUNCTION metrics_wide_id() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    NEW.wide_id := NEW.id;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER metrics_wide_id BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION metrics_wide_id();

-- The stored rows, in batches. A batch waits for the load that is under way, and the next load for the batch.
DO $$
DECLARE
    batch CONSTANT INTEGER := 20000;
    first BIGINT;
    last BIGINT;
BEGIN
    SELECT min(id), max(id) INTO first, last FROM metrics;
    WHILE first <= last LOOP
        LOCK TABLE metrics IN SHARE ROW EXCLUSIVE MODE;
        UPDATE metrics SET wide_id = id WHERE id BETWEEN first AND first + batch - 1 AND wide_id IS NULL;
        COMMIT;
        first := first + batch;
    END LOOP;
END $$;

-- What the new column must have; none of it keeps loads waiting.
DROP INDEX CONCURRENTLY IF EXISTS metrics_wide_id;
CREATE UNIQUE INDEX CONCURRENTLY metrics_wide_id ON metrics (wide_id);
ALTER TABLE metrics DROP CONSTRAINT IF EXISTS wide_id_is_there;
ALTER TABLE metrics ADD CONSTRAINT wide_id_is_there CHECK (wide_id IS NOT NULL) NOT VALID;
ALTER TABLE metrics VALIDATE CONSTRAINT wide_id_is_there;

-- The new column takes the place of the old one. The function metrics_as_of, which reads it, is made again.
BEGIN;
LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE;
SELECT pg_get_functiondef('metrics_as_of'::regproc) AS metrics_as_of \gset
DROP FUNCTION metrics_as_of;
DROP TRIGGER metrics_wide_id ON metrics;
DROP FUNCTION metrics_wide_id;
ALTER TABLE metrics ALTER wide_id SET NOT NULL, DROP CONSTRAINT wide_id_is_there;
ALTER SEQUENCE metrics_id_seq AS BIGINT OWNED BY metrics.wide_id;
ALTER TABLE metrics DROP COLUMN id;
ALTER TABLE metrics RENAME wide_id TO id;
ALTER TABLE metrics ALTER id SET DEFAULT nextval('metrics_id_seq');
ALTER TABLE metrics ADD CONSTRAINT metrics_pkey PRIMARY KEY USING INDEX metrics_wide_id;
:metrics_as_of;
COMMIT;
VACUUM (ANALYZE) metrics;
\echo the ids are BIGINT: now run setup
