export const newTab = `{
  viewer { id username }
}
`;

// The first tab takes no variables: GraphiQL shows a first tab's variables only once it was left and entered again.
export function examples(userId) {
  const partnerId = userId === "ann" ? "ben" : "ann";
  return [
    { query: start },
    { query: conversation, variables: json({ partnerId, limit: 20, after: null }) },
    { query: sendMessage, variables: json({ input: { recipientId: partnerId, content: "Hello from GraphiQL" } }) },
    { query: messageSent, variables: json({ after: null }) },
    { query: messageRead, variables: json({ after: null }) },
    { query: readConversation, variables: json({ input: { partnerId } }) },
  ];
}

function json(variables) {
  return JSON.stringify(variables, null, 2);
}

// Lines stay within 52 columns, which is what an editor shows in a window of 1,280 pixels.
const start = `# Run with Ctrl-Enter (⌘-Enter) or ▶.
query Start {
  viewer { id username }
  inbox { unreadCount }
  conversationPartners(first: 10) {
    nodes {
      user { id username }
      unreadCount
      lastMessage { formatted sentAt unread }
    }
    pageInfo { hasNextPage endCursor }
  }
  # Read before all else: MessageSent after this
  # cursor misses nothing that is not shown here.
  signalCursor
}
`;

const conversation = `# Newest first. For the next page, put endCursor
# into "after".
query Conversation(
  $partnerId: ID!
  $limit: Int
  $after: String
) {
  conversation(
    partnerId: $partnerId
    limit: $limit
    after: $after
    reversed: true
  ) {
    nodes { id sequence formatted sentAt readAt }
    pageInfo { hasNextPage endCursor }
    conversationPartner { unreadCount }
    inbox { unreadCount }
  }
}
`;

const sendMessage = `# A send with a "clientMessageId" is safe to repeat:
# the same id again answers with the first message.
mutation SendMessage($input: SendMessageInput!) {
  sendMessage(input: $input) {
    message {
      id
      sequence
      formatted
      sentAt
      sender { username }
      recipient { username }
    }
    conversationPartner { unreadCount }
    inbox { unreadCount }
  }
}
`;

const messageSent = `# Runs until it is stopped and shows the latest
# event: send something from another window.
# A cursor in "after" first brings all since then.
subscription MessageSent($after: String) {
  messageSent(after: $after) {
    cursor
    message { id formatted sentAt unread }
    sender { username }
    recipient { username }
    conversationPartner { unreadCount }
    inbox { unreadCount }
  }
}
`;

const messageRead = `# Like MessageSent, for the moment when a message
# is first read: run ReadConversation as its reader.
subscription MessageRead($after: String) {
  messageRead(after: $after) {
    cursor
    message { id formatted readAt }
    sender { username }
    recipient { username }
    conversationPartner { unreadCount }
    inbox { unreadCount }
  }
}
`;

const readConversation = `# Marks all that the partner sent as read. To stop
# at one message, add its id as "upTo".
mutation ReadConversation(
  $input: ReadConversationInput!
) {
  readConversation(input: $input) {
    readCount
    conversationPartner { unreadCount }
    inbox { unreadCount }
  }
}
`;
