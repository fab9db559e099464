"""One node with something for every method, for all tests of what the API promises."""

from tests.rpc.rich_fixtures import rich, rich_node, runner

__all__ = ["rich", "rich_node", "runner"]
