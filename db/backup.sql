-- Statements of db/backup.py, for the transaction of a restore.

-- name: make_room
-- The tables of `setup` give way to those of a backup, unless they have points or runs; the lock waits for the runs that
-- were faster. They are dropped by name, and only if `metrics` has our comment. What depends on them, or has one of their
-- names, ends the transaction.
DO $room$
DECLARE
    here CONSTANT oid := (SELECT oid FROM pg_namespace WHERE nspname = current_schema());
    ours text;
BEGIN
    SET LOCAL lock_timeout = '{wait_seconds}s'; -- who waits for the lock makes all others wait
    IF to_regclass('metrics') IS NULL OR to_regclass('pulls') IS NULL THEN RETURN; END IF;
    LOCK TABLE metrics, pulls IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM metrics) OR EXISTS (SELECT FROM pulls) THEN
        RAISE 'it has points or runs, and a backup is restored into an empty database';
    END IF;
    PERFORM FROM pg_class WHERE oid = to_regclass('metrics') AND relnamespace = here
        AND starts_with(obj_description(oid, 'pg_class'), 'crypto-metrics schema ');
    IF NOT FOUND THEN RETURN; END IF;
    FOR ours IN
        SELECT 'FUNCTION ' || string_agg(oid::regprocedure::text, ', ') FROM pg_proc
        WHERE pronamespace = here AND proname = ANY ('{views}')
            AND starts_with(obj_description(oid, 'pg_proc'), 'crypto-metrics: ')
        UNION ALL
        SELECT 'VIEW ' || string_agg(oid::regclass::text, ', ') FROM pg_class
        WHERE relnamespace = here AND relkind = 'v' AND relname = ANY ('{views}')
            AND starts_with(obj_description(oid, 'pg_class'), 'crypto-metrics: ')
        UNION ALL
        SELECT 'TABLE ' || string_agg(oid::regclass::text, ', ') FROM pg_class
        WHERE relnamespace = here AND relkind = 'r' AND (relname = ANY ('{tables}') OR relname = ANY ('{views}')
            AND starts_with(obj_description(oid, 'pg_class'), 'crypto-metrics: '))
    LOOP
        CONTINUE WHEN ours IS NULL;
        EXECUTE 'DROP ' || ours;
    END LOOP;
EXCEPTION WHEN lock_not_available THEN
    SELECT string_agg(DISTINCT format('%s (pid %s)', coalesce(nullif(application_name, ''), usename), pid), ', ') INTO ours
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE relation IN (to_regclass('metrics'), to_regclass('pulls')) AND granted AND pid <> pg_backend_pid();
    RAISE 'its tables are in use, by %: end these sessions, and try again', coalesce(ours, 'others');
END $room$
