// The API's contract, written by hand: every type, field, argument and default, sorted by name.
// A change here is a change that clients see.
export const contract = `
scalar DateTime @specifiedBy(url: "https://scalars.graphql.org/andimarek/date-time")

interface Node
Node.id: ID!

type User implements Node
User.id: ID!
User.username: String!

type Message implements Node
Message.clientMessageId: String
Message.content: String!
Message.formatted: String!
Message.id: ID!
Message.readAt: DateTime
Message.recipient: User!
Message.sender: User!
Message.sentAt: DateTime!
Message.sequence: Int!
Message.unread: Boolean!

type Inbox implements Node
Inbox.id: ID!
Inbox.unreadCount: Int!

type ConversationPartner implements Node
ConversationPartner.id: ID!
ConversationPartner.lastMessage: Message!
ConversationPartner.unreadCount: Int!
ConversationPartner.user: User!

type PageInfo
PageInfo.endCursor: String
PageInfo.hasNextPage: Boolean!
PageInfo.hasPreviousPage: Boolean!
PageInfo.startCursor: String

type MessageEdge
MessageEdge.cursor: String!
MessageEdge.node: Message!

type MessageConnection
MessageConnection.conversationPartner: ConversationPartner
MessageConnection.edges: [MessageEdge!]!
MessageConnection.inbox: Inbox!
MessageConnection.nodes: [Message!]!
MessageConnection.pageInfo: PageInfo!

type UnreadMessageConnection
UnreadMessageConnection.edges: [MessageEdge!]!
UnreadMessageConnection.nodes: [Message!]!
UnreadMessageConnection.pageInfo: PageInfo!
UnreadMessageConnection.totalCount: Int!

type ConversationPartnerEdge
ConversationPartnerEdge.cursor: String!
ConversationPartnerEdge.node: ConversationPartner!

type ConversationPartnerConnection
ConversationPartnerConnection.edges: [ConversationPartnerEdge!]!
ConversationPartnerConnection.nodes: [ConversationPartner!]!
ConversationPartnerConnection.pageInfo: PageInfo!

type Query
Query.conversation(after: String, first: Int, limit: Int, markRead: Boolean = false, partnerId: ID!, reversed: Boolean = false): MessageConnection
Query.conversationPartner(partnerId: ID!): ConversationPartner
Query.conversationPartners(after: String, first: Int = 50): ConversationPartnerConnection
Query.errorCodes: [ErrorCode!]
Query.inbox: Inbox
Query.message(id: ID!): Message
Query.node(id: ID!): Node
Query.signalCursor: String
Query.unreadMessages(after: String, first: Int = 50): UnreadMessageConnection
Query.user(id: ID!): User
Query.viewer: User

input SendMessageInput
SendMessageInput.clientMessageId: String
SendMessageInput.content: String!
SendMessageInput.recipientId: ID!

type SendMessagePayload
SendMessagePayload.conversationPartner: ConversationPartner!
SendMessagePayload.inbox: Inbox!
SendMessagePayload.message: Message!

input ReadMessageInput
ReadMessageInput.id: ID!

type ReadMessagePayload
ReadMessagePayload.conversationPartner: ConversationPartner!
ReadMessagePayload.inbox: Inbox!
ReadMessagePayload.message: Message!

input ReadConversationInput
ReadConversationInput.partnerId: ID!
ReadConversationInput.upTo: ID

type ReadConversationPayload
ReadConversationPayload.conversationPartner: ConversationPartner
ReadConversationPayload.inbox: Inbox!
ReadConversationPayload.readCount: Int!

input UserInput
UserInput.id: ID!
UserInput.username: String!

input UpsertUsersInput
UpsertUsersInput.users: [UserInput!]!

type UpsertUsersPayload
UpsertUsersPayload.users: [User!]!

type Mutation
Mutation.readConversation(input: ReadConversationInput!): ReadConversationPayload
Mutation.readMessage(input: ReadMessageInput!): ReadMessagePayload
Mutation.sendMessage(input: SendMessageInput!): SendMessagePayload
Mutation.upsertUsers(input: UpsertUsersInput!): UpsertUsersPayload

type MessageSent
MessageSent.conversationPartner: ConversationPartner!
MessageSent.cursor: String!
MessageSent.inbox: Inbox!
MessageSent.message: Message!
MessageSent.recipient: User!
MessageSent.sender: User!

type MessageRead
MessageRead.conversationPartner: ConversationPartner!
MessageRead.cursor: String!
MessageRead.inbox: Inbox!
MessageRead.message: Message!
MessageRead.recipient: User!
MessageRead.sender: User!

type Subscription
Subscription.messageRead(after: String, partnerId: ID): MessageRead!
Subscription.messageSent(after: String, partnerId: ID): MessageSent!

enum ErrorCode
ErrorCode.BAD_REQUEST
ErrorCode.BAD_USER_INPUT
ErrorCode.CANNOT_MESSAGE_SELF
ErrorCode.CLIENT_MESSAGE_ID_REUSED
ErrorCode.CONTENT_EMPTY
ErrorCode.CONTENT_TOO_LONG
ErrorCode.CURSOR_EXPIRED
ErrorCode.DOCUMENT_NOT_ALLOWED
ErrorCode.FORBIDDEN
ErrorCode.GRAPHQL_PARSE_FAILED
ErrorCode.GRAPHQL_VALIDATION_FAILED
ErrorCode.INTERNAL
ErrorCode.MESSAGE_NOT_FOUND
ErrorCode.PERSISTED_QUERY_NOT_FOUND
ErrorCode.PERSISTED_QUERY_NOT_SUPPORTED
ErrorCode.QUERY_TOO_COMPLEX
ErrorCode.RATE_LIMITED
ErrorCode.RESPONSE_TOO_LARGE
ErrorCode.SIDE_EFFECT_REQUIRES_POST
ErrorCode.UNAUTHENTICATED
ErrorCode.UNAVAILABLE
ErrorCode.USER_NOT_FOUND
`.split('\n').filter(Boolean).sort();
