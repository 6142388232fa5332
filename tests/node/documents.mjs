// Documents whose answers are compared with graphql-js's. `world` gives the people and ids of the set-up:
// ann and ben wrote to each other, the stranger to nobody. `fails` says which paths fail, and with which code.

const unknown = 'nobody-has-this-id';

export const documents = (world) => [
  // Root fields, their order and their names
  {
    name: 'one root field',
    text: '{ viewer { id username } }',
  },
  {
    name: 'root fields in the order of the document, slow ones first and last',
    text: `query ($partner: ID!) {
      conversation(partnerId: $partner, limit: 100) { nodes { id formatted } pageInfo { hasNextPage } }
      errorCodes
      inbox { unreadCount }
      signalCursor
      viewer { username }
      conversationPartners { nodes { user { username } lastMessage { sentAt readAt } } }
      unreadMessages { totalCount nodes { content } }
    }`,
    variables: { partner: world.ben },
  },
  {
    name: 'the same root fields the other way round',
    text: `query ($partner: ID!) {
      unreadMessages { nodes { content } totalCount }
      conversationPartners { nodes { lastMessage { readAt sentAt } user { username } } }
      viewer { username }
      signalCursor
      inbox { unreadCount }
      errorCodes
      conversation(partnerId: $partner, limit: 100) { pageInfo { hasNextPage } nodes { formatted id } }
    }`,
    variables: { partner: world.ben },
  },
  {
    name: 'aliases, on root fields and below',
    text: `{
      z: viewer { name: username, username: id }
      a: inbox { b: unreadCount, a: unreadCount, unreadCount }
      viewer: inbox { id }
    }`,
  },
  {
    name: 'one field several times under aliases, with other arguments',
    text: `query ($ben: ID!) {
      newest: conversation(partnerId: $ben, limit: 1, reversed: true) { nodes { sequence content } }
      oldest: conversation(partnerId: $ben, limit: 1) { nodes { sequence content } }
      firstTwo: conversation(partnerId: $ben, first: 2) { edges { cursor node { sequence } } }
    }`,
    variables: { ben: world.ben },
  },
  {
    name: '__typename at the root, between and below the fields',
    text: '{ a: __typename inbox { __typename unreadCount } __typename viewer { id __typename } }',
  },
  {
    name: 'introspection next to data',
    text: `{
      viewer { id }
      __type(name: "DateTime") { name kind specifiedByURL }
      none: __type(name: "Nothing") { name }
      inbox { unreadCount }
      __schema { queryType { name } mutationType { name } subscriptionType { name } }
      __typename
    }`,
  },
  {
    name: 'everything of a page',
    text: `query ($ben: ID!) {
      conversation(partnerId: $ben, limit: 3, reversed: true) {
        inbox { id unreadCount }
        pageInfo { endCursor startCursor hasPreviousPage hasNextPage }
        conversationPartner {
          unreadCount
          lastMessage {
            id sequence sender { id username } recipient { id }
            content sentAt readAt unread formatted clientMessageId
          }
          user { username id }
          id
        }
        nodes { unread readAt sentAt }
        edges { node { id sender { username } } cursor }
      }
    }`,
    variables: { ben: world.ben },
  },
  {
    name: 'an empty page and a null that is no error',
    text: `query ($stranger: ID!) {
      conversation(partnerId: $stranger) {
        nodes { id }
        edges { cursor }
        conversationPartner { id }
        pageInfo { startCursor endCursor }
      }
      conversationPartner(partnerId: $stranger) { id }
    }`,
    variables: { stranger: world.stranger },
  },
  {
    name: 'marking again what was read before',
    text: `query ($ben: ID!) {
      conversation(partnerId: $ben, limit: 2, markRead: true) { nodes { readAt unread } }
      inbox { unreadCount }
    }`,
    variables: { ben: world.ben },
  },

  // Merging
  {
    name: 'one field twice is one field, in the place of the first',
    text: '{ viewer { id } inbox { unreadCount } viewer { username } inbox { id } }',
  },
  {
    name: 'sub-selections merged at every level',
    text: `query ($ben: ID!) {
      conversation(partnerId: $ben) { nodes { sender { id } content } }
      conversation(partnerId: $ben) { pageInfo { hasNextPage } nodes { id sender { username id } } }
    }`,
    variables: { ben: world.ben },
  },
  {
    name: 'a field that a fragment selects again keeps its first place',
    text: `query { viewer { username } ...More signalCursor }
      fragment More on Query { inbox { id } viewer { id username __typename } }`,
  },
  {
    name: 'the order in which fragments bring fields',
    text: `query { ...Last errorCodes ...First }
      fragment First on Query { inbox { ...Count } viewer { ...Who } }
      fragment Last on Query { signalCursor viewer { ... on User { username } } }
      fragment Count on Inbox { unreadCount id }
      fragment Who on User { id username }`,
  },
  {
    name: 'a fragment that is spread twice',
    text: 'query { ...Who inbox { id } ...Who } fragment Who on Query { viewer { id } }',
  },
  {
    name: 'fragments within fragments within inline fragments',
    text: `query ($ben: ID!) { ... { ... on Query { ...Page } } }
      fragment Page on Query {
        conversation(partnerId: $ben, limit: 2) { ... { nodes { ...Line } } pageInfo { hasNextPage } }
      }
      fragment Line on Message { content ... on Node { id } ...Sender }
      fragment Sender on Message { sender { ... { username } } content }`,
    variables: { ben: world.ben },
  },

  // The interface Node
  {
    name: 'nodes of every type, by fragments that match and that do not',
    text: `query ($user: ID!, $message: ID!, $inbox: ID!, $partner: ID!) {
      user: node(id: $user) { ...Any }
      message: node(id: $message) { ...Any }
      inbox: node(id: $inbox) { ...Any }
      partner: node(id: $partner) { ...Any }
      none: node(id: "dm_nothing") { ...Any }
    }
    fragment Any on Node {
      ... on Message { label: content sequence sender { username } }
      __typename
      ... on User { label: username }
      id
      ... on Inbox { unreadCount }
      ... on ConversationPartner { unreadCount user { id } }
    }`,
    variables: { user: world.ben, message: world.message, inbox: world.inbox, partner: world.partner },
  },
  {
    name: 'a node of whose type nothing is selected',
    text: 'query ($user: ID!) { node(id: $user) { ... on Message { id content } } }',
    variables: { user: world.ben },
  },
  {
    name: 'interface fragments on objects',
    text: `query ($id: ID!) {
      message(id: $id) { ... on Node { __typename id ... on Message { content } } sender { ... on Node { id } } }
    }`,
    variables: { id: world.message },
  },

  // Null without an error
  {
    name: 'ids that nobody has',
    text: `query ($message: ID!) {
      message(id: $message) { id }
      user(id: "${unknown}") { id }
      node(id: "${unknown}") { id }
      viewer { username }
      number: message(id: 7) { id }
      block: user(id: """${unknown}""") { id }
    }`,
    variables: { message: unknown },
  },
  {
    name: 'an id that is given as a number',
    text: 'query ($id: ID!) { user(id: $id) { id } }',
    variables: { id: 7 },
  },

  // Failed fields
  {
    name: 'a root field that fails is null, and the others stand',
    text: `{ viewer { id } conversation(partnerId: "${unknown}") { nodes { id } } inbox { unreadCount } }`,
    fails: { conversation: 'USER_NOT_FOUND' },
  },
  {
    name: 'root fields that fail for different reasons',
    text: `query ($me: ID!, $ben: ID!) {
      self: conversation(partnerId: $me) { nodes { id } }
      viewer { username }
      nobody: conversation(partnerId: "${unknown}") { nodes { id } }
      none: conversation(partnerId: $ben, limit: 0) { nodes { id } }
      most: conversation(partnerId: $ben, limit: 100) { pageInfo { hasNextPage } }
      more: conversation(partnerId: $ben, limit: 101) { nodes { id } }
      negative: unreadMessages(first: -1) { totalCount }
      both: conversation(partnerId: $ben, limit: 2, first: 2) { nodes { id } }
      broken: conversation(partnerId: $ben, after: "broken") { nodes { id } }
      other: unreadMessages(after: "") { totalCount }
      partners: conversationPartners(first: 101) { nodes { id } }
      one: conversation(partnerId: $ben, limit: 1) { nodes { sequence } }
    }`,
    variables: { me: world.ann, ben: world.ben },
    fails: {
      self: 'CANNOT_MESSAGE_SELF',
      nobody: 'USER_NOT_FOUND',
      none: 'BAD_USER_INPUT',
      more: 'BAD_USER_INPUT',
      negative: 'BAD_USER_INPUT',
      both: 'BAD_USER_INPUT',
      broken: 'BAD_USER_INPUT',
      other: 'BAD_USER_INPUT',
      partners: 'BAD_USER_INPUT',
    },
  },
  {
    name: 'nothing but a failed field',
    text: `{ conversation(partnerId: "${unknown}") { nodes { id } } }`,
    fails: { conversation: 'USER_NOT_FOUND' },
  },
  {
    name: 'a root field that fails inside a fragment',
    text: `query {
        inbox { id }
        ...Talk
        ... @include(if: true) { more: conversation(partnerId: "${unknown}") { nodes { id } } viewer { id } }
      }
      fragment Talk on Query { talk: conversation(partnerId: "${unknown}") { nodes { id } } signalCursor }`,
    fails: { talk: 'USER_NOT_FOUND', more: 'USER_NOT_FOUND' },
  },
  {
    name: 'a failed field that is selected twice fails once',
    text: `{
      conversation(partnerId: "${unknown}") { nodes { id } }
      viewer { id }
      conversation(partnerId: "${unknown}") { pageInfo { hasNextPage } }
    }`,
    fails: { conversation: 'USER_NOT_FOUND' },
  },
  {
    name: 'a cursor of another list',
    text: `query ($ben: ID!, $cursor: String!) {
      same: conversation(partnerId: $ben, after: $cursor, limit: 2) { nodes { sequence } pageInfo { hasPreviousPage } }
      other: unreadMessages(after: $cursor) { totalCount }
      partners: conversationPartners(after: $cursor) { nodes { id } }
    }`,
    variables: { ben: world.ben, cursor: world.cursor },
    fails: { other: 'BAD_USER_INPUT', partners: 'BAD_USER_INPUT' },
  },

  // @skip and @include
  ...[true, false].map((yes) => ({
    name: `@skip and @include by a variable that is ${yes}`,
    text: `query ($yes: Boolean!) {
      viewer @include(if: $yes) { id username @skip(if: $yes) }
      inbox @skip(if: $yes) { id unreadCount @include(if: $yes) }
      ...Codes @include(if: $yes)
      ... on Query @skip(if: $yes) { signalCursor }
      ... @include(if: $yes) { __typename }
    }
    fragment Codes on Query { errorCodes }`,
    variables: { yes },
  })),
  {
    name: '@skip and @include by literals and by a default',
    text: `query ($no: Boolean = false, $off: Boolean! = true) {
      viewer @include(if: true) @skip(if: false) { id @skip(if: true) username @include(if: $off) }
      inbox @include(if: $no) { id }
      gone: inbox @include(if: true) @skip(if: true) { id }
      signalCursor @skip(if: $off)
      errorCodes @skip(if: $no)
    }`,
  },
  {
    name: 'everything skipped',
    text: `query ($no: Boolean!) { viewer @include(if: $no) { id } ...Rest @include(if: false) }
      fragment Rest on Query { inbox { id } }`,
    variables: { no: false },
  },
  {
    name: 'everything below a field skipped',
    text: 'query ($no: Boolean!) { viewer { id @include(if: $no) } inbox { ... @skip(if: true) { id } } }',
    variables: { no: false },
  },
  {
    name: 'a field that would fail, skipped',
    text: `query ($no: Boolean!) {
      conversation(partnerId: "${unknown}") @include(if: $no) { nodes { id } }
      viewer { id }
    }`,
    variables: { no: false },
  },
  {
    name: 'a field skipped in one place and taken in another',
    text: '{ viewer @skip(if: true) { id } inbox { id } viewer { username } }',
  },

  // Variables that are left out, and defaults
  {
    name: 'left-out variables take the defaults of the arguments',
    text: `query ($first: Int, $after: String, $ben: ID!, $limit: Int, $reversed: Boolean, $markRead: Boolean) {
      unreadMessages(first: $first, after: $after) { totalCount pageInfo { hasPreviousPage } }
      conversation(partnerId: $ben, limit: $limit, reversed: $reversed, markRead: $markRead, after: $after) { nodes { sequence } }
      conversationPartners(first: $first) { nodes { id } }
    }`,
    variables: { ben: world.ben },
  },
  {
    name: 'null takes the defaults of the arguments',
    text: `query ($first: Int, $ben: ID!, $reversed: Boolean = true, $markRead: Boolean) {
      unreadMessages(first: $first) { totalCount pageInfo { hasPreviousPage } }
      conversation(partnerId: $ben, limit: null, reversed: $reversed, markRead: $markRead, first: $first) { nodes { sequence } }
      newest: conversation(partnerId: $ben, reversed: null, markRead: null) { nodes { sequence } }
      conversationPartners(first: null, after: null) { nodes { id } }
    }`,
    variables: { ben: world.ben, first: null, reversed: null, markRead: null },
  },
  {
    name: 'left-out variables take the defaults of the operation',
    text: `query ($ben: ID!, $limit: Int = 2, $reversed: Boolean = true, $first: Int! = 1, $yes: Boolean! = false) {
      conversation(partnerId: $ben, limit: $limit, reversed: $reversed) { nodes { sequence } }
      conversationPartners(first: $first) { nodes { id } }
      viewer @include(if: $yes) { id }
    }`,
    variables: { ben: world.ben },
  },
  {
    name: 'given variables win over the defaults of the operation',
    text: `query ($ben: ID!, $limit: Int = 2, $reversed: Boolean = true) {
      conversation(partnerId: $ben, limit: $limit, reversed: $reversed) { nodes { sequence } }
    }`,
    variables: { ben: world.ben, limit: 3, reversed: false },
  },
  {
    name: 'an explicit null where null is allowed',
    text: `query ($ben: ID!, $limit: Int = 1, $after: String) {
      conversation(partnerId: $ben, limit: $limit, after: $after) { nodes { sequence } pageInfo { hasPreviousPage } }
      literal: conversation(partnerId: $ben, limit: null, first: 2, after: null) { nodes { sequence } }
    }`,
    variables: { ben: world.ben, limit: null, after: null },
  },
  {
    name: 'an explicit null for an argument that may not be null fails that field',
    text: `query ($id: ID = "somebody", $ben: ID!, $partner: ID = "somebody") {
      viewer { id }
      user(id: $id) { id }
      conversation(partnerId: $partner, limit: 1) { nodes { id } }
      conversationPartner(partnerId: $ben) { id }
      message(id: $id) { id }
      inbox { id }
    }`,
    variables: { id: null, ben: world.ben, partner: null },
    fails: { user: 'BAD_USER_INPUT', conversation: 'BAD_USER_INPUT', message: 'BAD_USER_INPUT' },
  },
  {
    name: 'variables that the operation does not declare are ignored',
    text: 'query ($first: Int) { unreadMessages(first: $first) { totalCount } }',
    variables: { first: 1, second: { anything: ['goes'] } },
  },

  // Several operations
  ...['First', 'Second'].map((operationName) => ({
    name: `the operation ${operationName} of two`,
    text: 'query First { viewer { id } } query Second($n: Int = 1) { unreadMessages(first: $n) { nodes { content } } }',
    operationName,
  })),
  {
    name: 'the name of the only operation',
    text: 'query Only { viewer { username } }',
    operationName: 'Only',
  },
];
