"""The real client `gql`, by each of its transports: queries, mutations, errors, schemas, and signals over a socket."""

import asyncio

import pytest
from gql import Client, GraphQLRequest, gql
from gql.dsl import DSLMutation, DSLQuery, DSLSchema, dsl_gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError, TransportServerError
from gql.transport.httpx import HTTPXAsyncTransport, HTTPXTransport
from gql.transport.requests import RequestsHTTPTransport
from gql.transport.websockets import WebsocketsTransport
from graphql import (
    GraphQLError,
    build_client_schema,
    execute_sync,
    get_introspection_query,
    lexicographic_sort_schema,
    parse,
    print_schema,
)
from websockets.exceptions import ConnectionClosed

from support import ENDPOINT, SCHEMA, SDL, mint, someone

PATIENCE = 30

SOCKET = ENDPOINT.replace("http", "ws", 1)

VIEWER = "{ viewer { id username } }"
SEND = """mutation ($input: SendMessageInput!) {
  sendMessage(input: $input) { message { id formatted unread sequence } }
}"""
SENT = """subscription ($after: String, $partnerId: ID) {
  messageSent(after: $after, partnerId: $partnerId) {
    cursor message { content sequence } sender { id username } inbox { unreadCount }
  }
}"""
READ = """subscription ($after: String) {
  messageRead(after: $after) { cursor message { id unread readAt } recipient { username } }
}"""


def by_header(transport):
    return lambda person: transport(ENDPOINT, headers=person.headers)


def by_init_payload(transport):
    # Seconds that gql waits at its end for subscriptions that are still open, which are many here.
    patience = {"close_timeout": 0.1}
    return lambda person, **options: transport(url=SOCKET, init_payload=person.headers, **patience, **options)


HTTP = {"aiohttp": by_header(AIOHTTPTransport), "httpx": by_header(HTTPXAsyncTransport)}
BLOCKING = {"httpx, blocking": by_header(HTTPXTransport), "requests": by_header(RequestsHTTPTransport)}
SOCKETS = {"websockets": by_init_payload(WebsocketsTransport), "aiohttp socket": by_init_payload(AIOHTTPWebsocketsTransport)}


def each(transports):
    return pytest.mark.parametrize("transport", transports.values(), ids=transports.keys())


@pytest.fixture
def ann():
    return someone("ann")


@pytest.fixture
def ben():
    return someone("ben")


async def ask(session, query, **variables):
    return await session.execute(GraphQLRequest(query, variable_values=variables))


async def codes_of(answer):
    """The codes of the errors that an operation ends with."""
    with pytest.raises(TransportQueryError) as failed:
        await answer
    return [error["extensions"]["code"] for error in failed.value.errors]


async def take(events, count):
    """The next `count` events."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(events) for _ in range(count)]


async def listen(session, after, *, query=SENT, **filters):
    """The events of a subscription, without the name of its field."""
    async for event in session.subscribe(GraphQLRequest(query, variable_values={"after": after, **filters})):
        yield next(iter(event.values()))


def contents(events):
    return [event["message"]["content"] for event in events]


@each(HTTP | SOCKETS)
@pytest.mark.anyio
async def test_queries_and_mutations_and_their_errors(transport, ann, ben):
    async with Client(transport=transport(ann)) as session:
        assert await ask(session, VIEWER) == {"viewer": {"id": ann.id, "username": "ann"}}
        sent = await ask(session, SEND, input={"recipientId": ben.id, "content": "héllo \U0001f600"})
        message = sent["sendMessage"]["message"]
        assert message == {"id": message["id"], "formatted": "ann: héllo \U0001f600", "unread": True, "sequence": 1}
        page = await ask(session, "query ($id: ID!) { conversation(partnerId: $id) { nodes { id } } }", id=ben.id)
        assert page == {"conversation": {"nodes": [{"id": message["id"]}]}}

        to_herself = ask(session, SEND, input={"recipientId": ann.id, "content": "hi"})
        assert await codes_of(to_herself) == ["CANNOT_MESSAGE_SELF"]
        assert await codes_of(ask(session, "{ nothing }")) == ["GRAPHQL_VALIDATION_FAILED"]
        # What is missing, and what is no text.
        assert await codes_of(ask(session, SEND, input={"content": 1})) == ["BAD_USER_INPUT"] * 2
        assert await ask(session, "{ inbox { unreadCount } }") == {"inbox": {"unreadCount": 0}}


@each(BLOCKING)
def test_queries_and_mutations_without_asyncio(transport, ann, ben):
    with Client(transport=transport(ann)) as session:
        assert session.execute(gql(VIEWER)) == {"viewer": {"id": ann.id, "username": "ann"}}
        variables = {"input": {"recipientId": ben.id, "content": "hello"}}
        sent = session.execute(GraphQLRequest(SEND, variable_values=variables))
        assert sent["sendMessage"]["message"]["formatted"] == "ann: hello"
        variables["input"]["content"] = " "
        with pytest.raises(TransportQueryError) as failed:
            session.execute(GraphQLRequest(SEND, variable_values=variables))
        assert [error["extensions"]["code"] for error in failed.value.errors] == ["CONTENT_EMPTY"]


@each(HTTP)
@pytest.mark.anyio
async def test_a_wrong_token_and_a_batch_are_refused_by_http(transport, ann):
    class Forged:
        token = ann.token[:-6] + "AAAAAA"
        headers = {"Authorization": f"Bearer {token}"}

    async with Client(transport=transport(Forged)) as session:
        assert await codes_of(ask(session, VIEWER)) == ["UNAUTHENTICATED"]
    async with Client(transport=transport(ann)) as session:
        with pytest.raises(TransportServerError) as refused:
            await session.execute_batch([gql(VIEWER), gql(VIEWER)])
        assert refused.value.code == 400


@each(HTTP | SOCKETS)
@pytest.mark.anyio
async def test_the_schema_comes_by_introspection_and_refuses_before_sending(transport, ann):
    async with Client(transport=transport(ann), fetch_schema_from_transport=True) as session:
        fetched = session.client.schema
        assert await ask(session, VIEWER) == {"viewer": {"id": ann.id, "username": "ann"}}
        with pytest.raises(GraphQLError, match="Cannot query field 'nothing'"):
            await ask(session, "{ nothing }")
    contract = build_client_schema(execute_sync(SCHEMA, parse(get_introspection_query())).data)
    assert print_schema(lexicographic_sort_schema(fetched)) == print_schema(lexicographic_sort_schema(contract))


@pytest.mark.anyio
async def test_the_contract_in_the_repository_validates_locally(ann):
    # Nobody answers at this address: what is refused here was never sent.
    async with Client(transport=AIOHTTPTransport("http://127.0.0.1:1/"), schema=SDL) as session:
        for wrong in ("{ nothing }", "{ viewer }", "{ message { id } }", SENT.replace("cursor", "id")):
            with pytest.raises(GraphQLError):
                await ask(session, wrong)


@pytest.mark.anyio
async def test_operations_written_in_the_dsl(ann, ben):
    api = DSLSchema(SCHEMA)
    to_ben = {"recipientId": ben.id, "content": "by DSL"}
    send = api.Mutation.sendMessage(input=to_ben).select(
        api.SendMessagePayload.message.select(api.Message.id, api.Message.formatted)
    )
    async with Client(transport=AIOHTTPTransport(ENDPOINT, headers=ann.headers), schema=SDL) as session:
        sent = await session.execute(dsl_gql(DSLMutation(send)))
        assert sent["sendMessage"]["message"]["formatted"] == "ann: by DSL"
        newest = api.Query.conversation(partnerId=ben.id, limit=1, reversed=True).alias("newest")
        newest = newest.select(api.MessageConnection.nodes.select(api.Message.id))
        found = await session.execute(dsl_gql(DSLQuery(newest)))
        assert found == {"newest": {"nodes": [{"id": sent["sendMessage"]["message"]["id"]}]}}


@each(SOCKETS)
@pytest.mark.anyio
async def test_of_the_two_protocols_offered_the_newer_one_is_chosen(transport, ann):
    offering = transport(ann)
    assert offering.adapter.subprotocols == ["graphql-ws", "graphql-transport-ws"]
    async with Client(transport=offering) as session:
        assert offering.subprotocol == "graphql-transport-ws"
        assert await ask(session, VIEWER) == {"viewer": {"id": ann.id, "username": "ann"}}


@each(SOCKETS)
@pytest.mark.anyio
async def test_signals_come_once_in_order_and_go_on_after_a_cut(transport, ann, ben):
    start = ann.cursor()
    first = transport(ann)
    client = Client(transport=first)
    events = listen(await client.connect_async(), start)
    ben.send(ann, "one")
    ann.send(ben, "two")
    heard = await take(events, 2)
    assert contents(heard) == ["one", "two"]
    assert [event["sender"]["username"] for event in heard] == ["ben", "ann"]
    assert heard[-1]["inbox"] == {"unreadCount": 1}
    ben.send(ann, "heard, and not acknowledged")

    cut(first)
    with pytest.raises(TransportConnectionFailed):
        await take(events, 2)
    await client.close_async()
    ben.send(ann, "meanwhile")

    async with Client(transport=transport(ann)) as session:
        resumed = listen(session, heard[-1]["cursor"])
        ben.send(ann, "marker")
        rest = await take(resumed, 3)
        assert contents(rest) == ["heard, and not acknowledged", "meanwhile", "marker"]
        again = await take(listen(session, start), 5)
        assert contents(again) == contents(heard + rest)
        cursors = [event["cursor"] for event in again]
        assert cursors == sorted(set(cursors)) == [event["cursor"] for event in heard + rest]


def cut(transport):
    """Breaks the connection off, as a network does: without a close frame."""
    adapter = transport.adapter
    socket = adapter.websocket
    raw = socket.transport if isinstance(transport, WebsocketsTransport) else socket._response.connection.transport
    raw.abort()


@each(SOCKETS)
@pytest.mark.anyio
async def test_a_client_that_reconnects_by_itself_misses_nothing(transport, ann, ben):
    through = transport(ann)
    client = Client(transport=through)
    session = await client.connect_async(reconnecting=True)
    cursor, heard = ann.cursor(), []
    for content in ("one", "two", "three"):
        ben.send(ann, f"before {content}")
        ben.send(ann, f"after {content}")
        events = listen(session, cursor)
        heard += await take(events, 1)
        cursor = heard[-1]["cursor"]
        cut(through)
        with pytest.raises(TransportConnectionFailed):
            await take(events, 5)
        # gql connects again by itself, and tries a query again until it has.
        assert await ask(session, VIEWER) == {"viewer": {"id": ann.id, "username": "ann"}}
    heard += await take(listen(session, cursor), 3)
    assert contents(heard) == [
        f"{when} {content}" for content in ("one", "two", "three") for when in ("before", "after")
    ]
    await client.close_async()


@each(SOCKETS)
@pytest.mark.anyio
async def test_several_subscriptions_share_a_socket_with_queries_and_end_alone(transport, ann, ben):
    cat = someone("cat")
    async with Client(transport=transport(ann)) as session:
        start = ann.cursor()
        everything, cats = listen(session, start), listen(session, start, partnerId=cat.id)
        receipts = listen(session, start, query=READ)
        message = ann.send(ben, "to ben")
        cat.send(ann, "from cat")
        ben.read(message)
        assert contents(await take(everything, 2)) == ["to ben", "from cat"]
        assert contents(await take(cats, 1)) == ["from cat"]
        (receipt,) = await take(receipts, 1)
        assert receipt["message"]["id"] == message["id"] and receipt["message"]["unread"] is False
        assert receipt["recipient"] == {"username": "ben"}

        await everything.aclose()
        assert await ask(session, VIEWER) == {"viewer": {"id": ann.id, "username": "ann"}}
        cat.send(ann, "marker")
        assert contents(await take(cats, 1)) == ["marker"]


@each(SOCKETS)
@pytest.mark.anyio
async def test_a_cursor_that_does_not_fit_ends_its_subscription_alone(transport, ann, ben):
    async with Client(transport=transport(ann)) as session:
        events = listen(session, ann.cursor())
        ben.send(ann, "one")
        await take(events, 1)
        for wrong in ("no cursor", ben.cursor()):
            assert await codes_of(take(listen(session, wrong), 1)) == ["BAD_USER_INPUT"]
        stranger = listen(session, None, partnerId="no such user")
        assert await codes_of(take(stranger, 1)) == ["USER_NOT_FOUND"]
        ben.send(ann, "two")
        assert contents(await take(events, 1)) == ["two"]


@each(SOCKETS)
@pytest.mark.anyio
async def test_pings_go_both_ways_and_tell_a_quiet_listener_s_progress(transport, ann, ben):
    cat = someone("cat")
    through = transport(ann, keep_alive_timeout=PATIENCE, ping_interval=0.2, pong_timeout=PATIENCE)
    async with Client(transport=through) as session:
        start = ann.cursor()
        quiet = listen(session, start, partnerId=cat.id)
        waiting = asyncio.ensure_future(take(quiet, 1))
        moved = []
        async with asyncio.timeout(PATIENCE):
            while len(moved) < 2:
                ben.send(ann, "not for this listener")
                await happens(through.ping_received)
                payload = through.payloads["ping"]
                if payload:
                    moved.extend(payload["cursors"].values())
            await happens(through.pong_received)
        assert start < moved[0] < moved[1]
        assert not waiting.done()
        cat.send(ann, "from cat")
        assert contents(await waiting) == ["from cat"]

        resumed = listen(session, moved[1], partnerId=cat.id)
        assert contents(await take(resumed, 1)) == ["from cat"]


async def happens(event):
    event.clear()
    await event.wait()


@pytest.mark.parametrize(
    "init_payload",
    [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {mint('ann', valid_for=-60)}"}],
    ids=["no token", "a broken token", "a token that has expired"],
)
@pytest.mark.anyio
async def test_a_socket_without_a_good_token_is_closed_with_4403(init_payload):
    assert await closed_with(init_payload=init_payload) == 4403


@pytest.mark.anyio
async def test_a_socket_that_offers_the_legacy_protocol_alone_is_closed_with_4406(ann):
    assert await closed_with(subprotocols=["graphql-ws"], init_payload=ann.headers) == 4406


async def closed_with(**options):
    """The code that the server closes a socket with, before it can be used."""
    with pytest.raises(TransportConnectionFailed) as failed:
        async with asyncio.timeout(PATIENCE), Client(transport=WebsocketsTransport(SOCKET, **options)):
            pass
    assert isinstance(failed.value.__cause__, ConnectionClosed)
    return failed.value.__cause__.rcvd.code
