"""What holds for every suite: how many examples of each property, and that the server outlives them."""

import os

import pytest
from hypothesis import HealthCheck, settings

import support

EXAMPLES = int(os.environ.get("EXAMPLES", "15"))

settings.register_profile(
    "suite",
    max_examples=EXAMPLES,
    # A shared machine is slow at times.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
settings.load_profile("suite")


def pytest_report_header(config):
    return f"examples: {EXAMPLES} of each property, drawn by the seed {config.getoption('hypothesis_seed')}"


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def the_server_still_answers_afterwards():
    yield
    witness = support.known("witness", "Witness")
    sent = witness.send(support.known("other", "Other"), "still here")
    assert sent["sequence"] == 1
