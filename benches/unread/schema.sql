-- 10,000 users in 5,000 conversations of two, 200,000 messages, a tenth of them unread.
SET client_min_messages = warning;
DROP TABLE IF EXISTS message, unread;
DROP SEQUENCE IF EXISTS place, next_read;
CREATE SEQUENCE place START 200001;
-- Reads follow the order of the messages, from the first unread one on, so that each turns 64 read.
CREATE SEQUENCE next_read START 180001;
CREATE TABLE message (conversation_id uuid NOT NULL, seq bigint NOT NULL, sender_id uuid NOT NULL, recipient_id uuid NOT NULL,
  content text NOT NULL, sent_at bigint NOT NULL, read_at bigint, client_message_id text NOT NULL, recipient_position bigint NOT NULL,
  PRIMARY KEY (conversation_id, seq));
CREATE UNIQUE INDEX ON message (conversation_id, sender_id, client_message_id);
CREATE TABLE unread (user_id uuid NOT NULL, position bigint NOT NULL, conversation_id uuid NOT NULL, seq bigint NOT NULL,
  PRIMARY KEY (user_id, position));
INSERT INTO message SELECT md5('c' || n % 5000)::uuid, n, md5('u' || n % 5000)::uuid, md5('u' || n % 5000 + 5000)::uuid,
  repeat('word ', 12), n, CASE WHEN n <= 180000 THEN n END, n::text, n FROM generate_series(1, 200000) AS n;
SELECT :'way' = 'index' AS by_index \gset
\if :by_index
CREATE INDEX ON message (recipient_id, recipient_position) WHERE read_at IS NULL;
\else
INSERT INTO unread SELECT recipient_id, recipient_position, conversation_id, seq FROM message WHERE read_at IS NULL;
\endif
VACUUM ANALYZE message;
VACUUM ANALYZE unread;
CHECKPOINT;
