BEGIN;
WITH turned AS (UPDATE message SET read_at = 1 FROM (SELECT nextval('next_read') AS p FROM generate_series(1, 64)) AS places
  WHERE conversation_id = md5('c' || p % 5000)::uuid AND seq = p AND read_at IS NULL RETURNING recipient_id, recipient_position)
DELETE FROM unread USING turned WHERE user_id = recipient_id AND position = recipient_position;
COMMIT;
