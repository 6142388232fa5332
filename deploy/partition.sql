-- Spreads the tables of one PostgreSQL over hash partitions, by the columns by which a distributed PostgreSQL spreads them.
-- Run it once, on a migrated database, with every server stopped: psql -1 -v ON_ERROR_STOP=1 -f deploy/partition.sql
DO $$
DECLARE
  partitions CONSTANT integer := 8;
  t record;
BEGIN
  FOR t IN
    SELECT * FROM (VALUES ('user', 'id'), ('inbox', 'user_id'), ('conversation_partner', 'user_id'),
      ('message', 'conversation_id'), ('signal', 'user_id')) AS t (name, key)
  LOOP
    EXECUTE format('ALTER TABLE %I RENAME TO %I', t.name, t.name || '_whole');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY HASH (%I)', t.name, t.name || '_whole', t.key);
    FOR place IN 0..partitions - 1 LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
        t.name || '_' || place, t.name, partitions, place);
    END LOOP;
    EXECUTE format('INSERT INTO %I SELECT * FROM %I', t.name, t.name || '_whole');
    EXECUTE format('DROP TABLE %I', t.name || '_whole');
  END LOOP;
END $$;
