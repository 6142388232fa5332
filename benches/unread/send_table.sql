BEGIN;
WITH stored AS (INSERT INTO message SELECT md5('c' || p % 5000)::uuid, p, md5('u' || p % 5000)::uuid, md5('u' || p % 5000 + 5000)::uuid,
  repeat('word ', 12), p, NULL, p::text, p FROM (SELECT nextval('place') AS p FROM generate_series(1, 64)) AS places
  RETURNING recipient_id, recipient_position, conversation_id, seq)
INSERT INTO unread SELECT * FROM stored;
COMMIT;
