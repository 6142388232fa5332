\set user random(5000, 9999)
SELECT m.* FROM unread u JOIN message m ON m.conversation_id = u.conversation_id AND m.seq = u.seq
  WHERE u.user_id = md5('u' || :user)::uuid AND u.position > 0 ORDER BY u.position LIMIT 51;
