"""The examples of the OpenRPC document: each method has one, it is what a node answers, and fits the schemas."""

from __future__ import annotations

import asyncio
import json

import pytest

from rpc.openrpc import EXAMPLES
from tests.rpc.contract.example_calls import WITHOUT, made_examples
from tests.rpc.contract.schema_fixtures import METHODS, param_validator, result_validator


def test_the_examples_are_what_a_node_answers(runner: asyncio.Runner) -> None:
    stored, made = json.loads(EXAMPLES.read_text("utf-8")), made_examples(runner)
    assert stored.keys() == made.keys(), "run `python scripts/make_api_examples.py`"
    for name, example in made.items():
        assert stored[name] == example, f"{name}: run `python scripts/make_api_examples.py`"


@pytest.mark.parametrize("name", sorted(METHODS.keys() - WITHOUT.keys()))
def test_the_example_of_a_method_fits_its_schemas(name: str) -> None:
    (example,) = METHODS[name]["examples"]
    for param in example["params"]:
        param_validator(name, param["name"]).validate(param["value"])
    required = {item["name"] for item in METHODS[name]["params"] if item["required"]}
    assert required <= {param["name"] for param in example["params"]}
    result_validator(name).validate(example["result"]["value"])
