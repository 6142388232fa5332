"""What the suites share: the settings that the Rust harness passes, tokens, people, and what every answer keeps to."""

import base64
import hashlib
import hmac
import json
import os
import time
import uuid
from dataclasses import dataclass

import graphql
import requests


def setting(name):
    """A setting from the environment; a missing one fails the test with a sentence."""
    value = os.environ.get(name)
    assert value, f"{name} is not set: tests/it starts these tests, and passes SERVER_URL, JWT_SECRET and SCHEMA."
    return value


ENDPOINT = f"{setting('SERVER_URL')}/graphql"

with open(setting("SCHEMA"), encoding="utf-8") as file:
    SDL = file.read()
SCHEMA = graphql.build_schema(SDL)

#: Every code that the contract knows.
CODES = frozenset(SCHEMA.type_map["ErrorCode"].values)
#: What no request may bring about while the database is there.
DEFECTS = frozenset({"INTERNAL", "UNAVAILABLE"})


def mint(subject, *, username=None, role=None, valid_for=3600):
    """A token as the host application would make it: HS256 over `JWT_SECRET`, valid for an hour."""
    now = int(time.time())
    claims = {"sub": subject, "iat": now, "exp": now + valid_for, "preferred_username": username, "role": role}

    def encode(part):
        return base64.urlsafe_b64encode(part).rstrip(b"=")

    parts = ({"alg": "HS256", "typ": "JWT"}, claims)
    signed = b".".join(encode(json.dumps(part).encode()) for part in parts)
    signature = hmac.new(setting("JWT_SECRET").encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + encode(signature)).decode()


@dataclass(frozen=True)
class Person:
    """Someone with a token."""

    id: str
    username: str
    token: str

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}

    def ask(self, query, variables=None):
        """The data of an operation that must succeed."""
        body = {"query": query, "variables": variables}
        answer = requests.post(ENDPOINT, json=body, headers=self.headers, timeout=30).json()
        assert "errors" not in answer, f"{query} failed: {answer['errors']}"
        return answer["data"]

    def send(self, recipient, content):
        data = self.ask(
            "mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { id sequence } } }",
            {"input": {"recipientId": recipient.id, "content": content}},
        )
        return data["sendMessage"]["message"]

    def read(self, message):
        self.ask("mutation ($id: ID!) { readMessage(input: { id: $id }) { message { id } } }", {"id": message["id"]})

    def cursor(self):
        return self.ask("{ signalCursor }")["signalCursor"]


def known(id, username):
    """Someone whom the server knows from now on."""
    person = Person(id, username, mint(id, username=username))
    assert person.ask("{ viewer { id username } }") == {"viewer": {"id": id, "username": username}}
    return person


def someone(username):
    """Someone with an id that no other test has, whom the server knows from now on."""
    return known(f"{username}-{uuid.uuid4()}", username)


def check_answer(answer):
    """What every GraphQL answer keeps to; returns its errors' codes."""
    assert isinstance(answer, dict), f"the answer is no object: {answer!r}"
    assert answer and answer.keys() <= {"data", "errors", "extensions"}, f"the answer is of another shape: {answer!r}"
    errors = answer.get("errors", [])
    assert errors or "data" in answer, f"there is neither data nor an error: {answer!r}"
    assert errors or "errors" not in answer, f"the list of errors is empty: {answer!r}"
    for error in errors:
        assert isinstance(error["message"], str) and error["message"], f"the error says nothing: {error!r}"
        assert error["extensions"]["code"] in CODES - DEFECTS, f"no request may bring this about: {error!r}"
    return [error["extensions"]["code"] for error in errors]
