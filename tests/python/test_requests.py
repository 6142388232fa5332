"""Hostile HTTP, written by Hypothesis: any method, path, query string, headers and body that are HTTP at all get an answer
that is no defect, and is JSON; what is no HTTP gets no 5xx. GraphiQL's page, which is for people, is left out."""

import http.client
import json
import socket
from urllib.parse import quote, urlsplit

from hypothesis import example, given, settings
from hypothesis import strategies as st

from support import check_answer, known, mint, setting

PATIENCE = 30
SERVER = urlsplit(setting("SERVER_URL"))
ANN, BEN = known("ann", "Ann"), known("ben", "Ben")
ANN.send(BEN, "hello")
SERVICE = mint("host", role="service")

# There are few properties here, of much that may be asked.
MORE = settings(max_examples=10 * settings().max_examples)

QUERIES = [
    "{ viewer { id username } }",
    '{ conversation(partnerId: "ben", markRead: true) { nodes { id content } } }',
    'mutation { sendMessage(input: { recipientId: "ben", content: "hi" }) { message { id } } }',
    "query ($id: ID!) { user(id: $id) { username } }",
    "subscription { messageSent { cursor } }",
    "query A { signalCursor } query B { inbox { unreadCount } }",
    "{ __schema { types { name } } }",
    "fragment F on Query { ...F } { ...F }",
    "{" * 300,
    '{ user(id: "' + "\\u0000" + '") { id } }',
]
TEXT = st.text(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.sampled_from(QUERIES) | TEXT
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "query": DOCUMENTS | JSON,
        "variables": st.dictionaries(st.sampled_from(["id", "input"]), JSON, max_size=2) | JSON,
        "operationName": st.sampled_from(["A", "B"]) | JSON,
        "extensions": st.builds(
            lambda version, hash: {"persistedQuery": {"version": version, "sha256Hash": hash}}, JSON, JSON
        )
        | JSON,
        "documentId": JSON,
    },
)
BODIES = (
    PARAMETERS.map(lambda parameters: json.dumps(parameters).encode())
    | st.lists(PARAMETERS, max_size=3).map(lambda batch: json.dumps(batch).encode())
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=400)
    | st.integers(min_value=1, max_value=2_000).map(lambda depth: b'{"variables":' + b"[" * depth)
)

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TOKENS = st.text(TOKEN_CHARACTERS, min_size=1, max_size=20)
# A CONNECT names a host instead of a path: hyper answers it by itself.
METHODS = st.sampled_from(
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "QUERY", "get"]
) | TOKENS.filter(lambda method: method != "CONNECT")

#: What may stand in a header's value, as RFC 9110 has it: visible ASCII, spaces, tabs, and bytes above.
VALUES = st.lists(st.sampled_from([9, *range(32, 127), *range(128, 256)]), max_size=40).map(bytes)
PLAUSIBLE = {
    "Content-Type": ["application/json", "application/json; charset=utf-8", "application/json; charset=utf-16", "text/plain",
        "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/graphql"],
    "Accept": ["application/graphql-response+json", "application/json;q=0", "text/event-stream", "*/*;q=0.1", "text/html",
               "application/json;q=1.1", ";;;,,,"],
    "Authorization": [f"Bearer {ANN.token}", f"bearer {SERVICE}", "Bearer ", "Bearer a.b.c", "Basic YTpi", f"Bearer {ANN.token}x"],
    "X-Act-As": ["ann", "%", "%00", "%FF", "nobody", "dm_x", "a" * 300],
    "Last-Event-ID": ["dm_x", "0"],
    "Accept-Encoding": ["gzip", "identity;q=0", "br"],
    "Origin": ["null", "https://evil.example", "http://127.0.0.1"],
    "X-Forwarded-For": ["1.2.3.4", "::1, garbage", ","],
    "Connection": ["upgrade", "close", "keep-alive"],
    "Upgrade": ["websocket", "h2c", "WebSocket, x"],
    "Sec-WebSocket-Version": ["13", "8"],
    "Sec-WebSocket-Key": ["dGhlIHNhbXBsZSBub25jZQ==", "x"],
    "Sec-WebSocket-Protocol": ["graphql-transport-ws", "graphql-ws", "a, b"],
    "Access-Control-Request-Method": ["POST", "x"],
    "Access-Control-Request-Headers": ["authorization, content-type", ","],
    "If-None-Match": ["*", '"x"'],
    "Range": ["bytes=0-1"],
    "Cookie": ["a=b"],
}
# How long a body is belongs to the transport, and is told rightly here: the other test lies about it.
FRAMING = {"content-length", "transfer-encoding", "expect", "host"}
HEADERS = st.lists(
    st.one_of(
        *(
            st.tuples(st.just(name), st.sampled_from(values).map(str.encode) | VALUES)
            for name, values in PLAUSIBLE.items()
        ),
        st.tuples(TOKENS.filter(lambda name: name.lower() not in FRAMING), VALUES),
    ),
    max_size=8,
)
# Most hostile requests would end at a missing Content-Type: half of them come with the one that is right.
HEADERS = HEADERS | HEADERS.map(lambda headers: [("Content-Type", b"application/json"), *headers])

PARAMETER_NAMES = st.sampled_from(["query", "variables", "operationName", "extensions", "documentId", "markRead"]) | TEXT
QUERY_STRINGS = st.one_of(
    st.just(""),
    st.lists(st.tuples(PARAMETER_NAMES, DOCUMENTS | JSON.map(json.dumps)), max_size=4).map(
        lambda pairs: "?" + "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in pairs)
    ),
    # Whatever else hyper takes for a query string, with percent signs that encode nothing.
    st.text("abcdefghijklmnopqrstuvwxyz0123456789%&=+;:@!$'()*,-._~/?{}[]", max_size=60).map(lambda text: "?" + text),
)
PATHS = st.one_of(
    st.just("/graphql"),
    st.sampled_from(["/", "/graphql/", "/GRAPHQL", "/health/live", "/health/ready", "//graphql", "/graphql/..", "/%00"]),
    TEXT.map(lambda text: "/" + quote(text, safe="")),
).filter(lambda path: path != "/graphiql")


@MORE
@given(METHODS, PATHS, QUERY_STRINGS, HEADERS, BODIES)
@example("POST", "/graphql", "", [("Content-Type", b"application/json")], b'{"query": "{ viewer { id } }"}')
def test_whatever_is_http_gets_json_and_no_defect(method, path, query_string, headers, body):
    lines = [f"{method} {path}{query_string} HTTP/1.1".encode(), b"Host: " + SERVER.netloc.encode()]
    lines += [name.encode() + b": " + value for name, value in headers]
    lines += [b"Content-Length: %d" % len(body), b"", body]
    request = b"\r\n".join(lines)
    with connect() as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        assert response.status < 500, f"{request!r} gets {response.status}: {response.read()!r}"
        content_type = response.headers.get("Content-Type", "")
        if response.status == 101 or content_type.startswith("text/event-stream"):
            return
        text = response.read()
    if method == "HEAD" or response.status == 204:
        assert text == b""
        return
    assert content_type in (
        "application/json; charset=utf-8",
        "application/graphql-response+json; charset=utf-8",
    ), f"{request!r} gets {response.status} with {content_type!r}: {text!r}"
    answer = json.loads(text)
    if path.startswith("/health/") and response.status == 200:
        assert answer == {"status": "ok"}
    else:
        check_answer(answer)


VALID = (
    b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer "
    + ANN.token.encode()
    + b'\r\nContent-Length: 30\r\n\r\n{"query": "{ viewer { id } }"}'
)
NOISE = st.binary(max_size=12) | st.sampled_from(
    [b"\r\n", b"\0", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 7\r\n", b"Expect: 100-continue\r\n", b"HTTP/9.9", b"CONNECT "]
)


@MORE
@given(
    st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 8), NOISE), min_size=1, max_size=6)
    .map(sorted)
    .map(lambda edits: damaged(VALID, edits))
    | st.binary(min_size=1, max_size=300)
)
def test_what_is_no_http_is_no_defect(request):
    """hyper itself answers what it cannot read as HTTP, without a body, or hangs up: only a 5xx would be wrong."""
    answer = b""
    with connect() as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                answer += part
        except OSError as hung_up:
            assert not isinstance(hung_up, TimeoutError), "the server neither answers nor hangs up"
    for line in answer.split(b"\r\n"):
        if line.startswith(b"HTTP/1."):
            assert not line.split(b" ")[1].startswith(b"5"), answer


def damaged(text, edits):
    """The text with some bytes taken out and others put in, from behind, so that places stay where they were."""
    for place, length, noise in reversed(edits):
        text = text[:place] + noise + text[place + length :]
    return text


def connect():
    return socket.create_connection((SERVER.hostname, SERVER.port), timeout=PATIENCE)
