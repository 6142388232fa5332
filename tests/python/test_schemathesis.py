"""Schemathesis draws operations from the contract, valid and broken, for each root field, with ids and cursors that exist
among those that do not. Whoever sends them: the answer is JSON of the specification's shape, no defect, refused exactly
where graphql-core refuses the document, and its data is what the contract promises for that document."""

import json

import graphql
import pytest
import schemathesis
from hypothesis import given, note
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.graphql import nodes

from support import ENDPOINT, SCHEMA, check_answer, known, mint, setting

ANN, BEN = known("ann", "Ann"), known("ben", "Ben")
MESSAGES = [ANN.send(BEN, "one"), BEN.send(ANN, "two"), ANN.send(BEN, "three")]
BEN.read(MESSAGES[0])

SERVICE = {"Authorization": f"Bearer {mint('host', role='service')}"}
CALLERS = {
    "nobody": {},
    "a user": ANN.headers,
    "the application": SERVICE,
    "the application for a user": SERVICE | {"X-Act-As": BEN.id},
}

#: What a document is refused by before anything runs.
INVALID = {"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"}


def ids_and_cursors():
    found = ANN.ask(
        """{ inbox { id } signalCursor
          conversationPartners { edges { cursor node { id } } }
          conversation(partnerId: "ben") { edges { cursor } }
          unreadMessages { edges { cursor } } }"""
    )
    lists = [found["conversationPartners"], found["conversation"], found["unreadMessages"]]
    cursors = [found["signalCursor"], *(edge["cursor"] for each in lists for edge in each["edges"])]
    partners = [edge["node"]["id"] for edge in found["conversationPartners"]["edges"]]
    ids = [ANN.id, BEN.id, found["inbox"]["id"], *partners, *(message["id"] for message in MESSAGES)]
    return ids, cursors


IDS, CURSORS = ids_and_cursors()
TEXT = st.text(max_size=300)
schemathesis.graphql.scalar("ID", (st.sampled_from(IDS) | TEXT).map(nodes.String) | st.integers().map(nodes.Int))
schemathesis.graphql.scalar("String", (st.sampled_from(CURSORS) | TEXT).map(nodes.String))

API = schemathesis.graphql.from_path(setting("SCHEMA"))
API.config.update(base_url=ENDPOINT)
OPERATIONS = [operation.ok() for operation in API.get_all_operations()]


def each(operations):
    return pytest.mark.parametrize("operation", operations, ids=lambda operation: operation.label)


def takes_arguments(operation):
    root, field = operation.label.split(".")
    return bool(SCHEMA.type_map[root].fields[field].args)


@each(OPERATIONS)
def test_valid_operations_get_what_the_contract_promises(operation):
    answered = set()

    @given(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), st.sampled_from(sorted(CALLERS)))
    def check(case, caller):
        document = with_type_names(graphql.parse(case.body))
        answer, codes = send(case, graphql.print_ast(document), caller)
        refused = bool(graphql.validate(SCHEMA, document))
        assert refused == bool(INVALID & set(codes)), f"graphql-core refuses it: {refused}, the server answers {answer}"
        if answer.get("data") is not None:
            assert conforms(document, answer["data"]), f"this is not what the document asks for: {answer}"
            answered.add(caller)

    check()
    assert answered, "no caller got an answer in any example: they show nothing"


# Without an argument there is nothing that Schemathesis could break.
@each(list(filter(takes_arguments, OPERATIONS)))
def test_broken_operations_are_refused(operation):
    refusals = []

    @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), st.sampled_from(sorted(CALLERS)))
    def check(case, caller):
        answer, codes = send(case, case.body, caller)
        if is_refused(case.body):
            assert "data" not in answer and codes, f"graphql-core refuses it, the server answers {answer}"
            refusals.extend(codes)
        else:
            assert not INVALID & set(codes), f"graphql-core takes it, the server answers {answer}"

    check()
    assert "GRAPHQL_VALIDATION_FAILED" in refusals, "no example was broken: they show nothing"


def send(case, text, caller):
    """Sends an operation as a caller. Returns the answer, and its errors' codes."""
    case.body = text
    note(f"{caller} sends {text}")
    response = case.call(headers=CALLERS[caller])
    assert response.status_code < 500, f"{response.status_code}: {response.content!r}"
    answer = json.loads(response.content)
    return answer, check_answer(answer)


def is_refused(text):
    """Whether graphql-core refuses a document before it runs."""
    try:
        return bool(graphql.validate(SCHEMA, graphql.parse(text)))
    except graphql.GraphQLError:
        return True


class TypeNames(graphql.Visitor):
    """Asks every object for its type's name, as clients with a normalising cache do."""

    name = graphql.FieldNode(name=graphql.NameNode(value="__typename"))

    def leave_selection_set(self, node, _key, parent, *_):
        if isinstance(parent, graphql.OperationDefinitionNode):
            return None
        return graphql.SelectionSetNode(selections=(self.name, *node.selections))


def with_type_names(document):
    return graphql.visit(document, TypeNames())


def conforms(document, data):
    """Whether graphql-core, which is given the answer as what its resolvers find, completes it to the same answer."""

    def resolve(source, info, **_arguments):
        return source[info.path.key]

    def type_of(value, *_):
        return value["__typename"]

    result = graphql.execute_sync(SCHEMA, document, data, field_resolver=resolve, type_resolver=type_of)
    return result.errors is None and json.dumps(result.data) == json.dumps(data)
