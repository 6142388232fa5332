\set user random(5000, 9999)
SELECT * FROM message WHERE recipient_id = md5('u' || :user)::uuid AND read_at IS NULL AND recipient_position > 0
  ORDER BY recipient_position LIMIT 51;
