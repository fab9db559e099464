"""The classic operators of mutation testing over a Python file: every small change that each of them makes.

Here: finding the places in the syntax tree and spelling the change; all a pure function of the text. Not here: trying
the changes (`scripts/mutation_operators.py`). Left alone is what no test of behaviour can see: annotations, decorators,
class keywords, docstrings, assertions, the words of an error, `__all__`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

FLIPPED: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: ">=", ast.LtE: ">", ast.Gt: "<=", ast.GtE: "<", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
SHIFTED: Final[dict[type[ast.cmpop], str]] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
ARITHMETIC: Final[dict[type[ast.operator], str]] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.FloorDiv: "*", ast.Mod: "//",
    ast.BitAnd: "|", ast.BitOr: "&", ast.LShift: ">>", ast.RShift: "<<",
}  # fmt: skip
DELETED: Final = (ast.Expr, ast.Assign, ast.AugAssign, ast.Delete)


@dataclass(frozen=True, order=True)
class Change:
    """A change of the text from one place to another: lines from 1, columns in UTF-8 bytes."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    operator: str
    new: str

    def apply(self, text: str) -> str:
        """Return the changed text."""
        lines = [line.encode() for line in text.splitlines(keepends=True)]
        head = b"".join([*lines[: self.line - 1], lines[self.line - 1][: self.column]])
        tail = b"".join([lines[self.end_line - 1][self.end_column :], *lines[self.end_line :]])
        return (head + self.new.encode() + tail).decode()


def changes_of(file: str, text: str) -> list[Change]:
    """Return all changes of a file, in the order of their places."""
    found = _Finder(file, text)
    found.visit(ast.parse(text))
    return sorted(set(found.changes))


class _Finder(ast.NodeVisitor):
    """Walks what is executed and gathers changes."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self.changes: list[Change] = []

    def _add(self, node: ast.expr | ast.stmt, operator: str, new: str) -> None:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        place = node.lineno, node.col_offset, node.end_lineno, node.end_col_offset
        self.changes.append(Change(self._file, *place, operator, new))

    def _source(self, node: ast.AST) -> str:
        return ast.get_source_segment(self._text, node) or ""

    def _inside(self, node: ast.expr) -> str:
        """Return a part of an expression so that it stands by itself; a part that spans lines is in brackets."""
        source = self._source(node)
        return f"({source})" if "\n" in source or isinstance(node, ast.BoolOp | ast.IfExp | ast.Lambda) else source

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for index, operator in enumerate(node.ops):
            for name, table in (("flip", FLIPPED), ("boundary", SHIFTED)):
                if (other := table.get(type(operator))) is not None:
                    spelled = [_spelled(item) for item in node.ops]
                    spelled[index] = other
                    parts = [self._inside(operands[0])]
                    for word, operand in zip(spelled, operands[1:], strict=True):
                        parts += [word, self._inside(operand)]
                    self._add(node, name, f"({' '.join(parts)})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word = " or " if isinstance(node.op, ast.And) else " and "
        self._add(node, "and/or", f"({word.join(f'({self._source(value)})' for value in node.values)})")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add(node, "not", f"({self._source(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        texts = [side for side in (node.left, node.right) if _is_text(side)]
        other = ARITHMETIC.get(type(node.op))
        if other is not None and not texts:
            self._add(node, "arithmetic", f"(({self._source(node.left)}) {other} ({self._source(node.right)}))")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, "constant", str(not node.value))
        elif isinstance(node.value, int):
            self._add(node, "constant", f"({node.value + 1})")
            self._add(node, "constant", f"({node.value - 1})")

    def visit_If(self, node: ast.If) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        """A condition that is a name or a call has no operator of its own to break."""
        if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.NamedExpr):
            self._add(test, "negate", f"(not ({self._source(test)}))")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self._add(node, "return", "pass")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._add(node, "raise", "pass")  # what the error says is not looked at

    def visit_Continue(self, node: ast.Continue) -> None:
        self._add(node, "statement", "pass")

    def visit_Break(self, node: ast.Break) -> None:
        self._add(node, "statement", "pass")

    def generic_visit(self, node: ast.AST) -> None:
        inside_function = isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.ClassDef)
        if inside_function and isinstance(node, DELETED) and not self._names_nothing_yet(node):
            self._add(node, "statement", "pass")
        super().generic_visit(node)

    def _names_nothing_yet(self, node: ast.stmt) -> bool:
        """Whether a statement gives a plain name its value: without it the rest only crashes, which proves nothing."""
        return isinstance(node, ast.Assign) and any(isinstance(item, ast.Name | ast.Tuple) for item in node.targets)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        pass

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for item in [*node.args.defaults, *(found for found in node.args.kw_defaults if found), *node.body]:
            self.visit(item)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        for item in node.body:
            self.visit(item)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for item in node.body:  # not its keywords, which type checkers hold to (`frozen=True`)
            self.visit(item)

    def visit_Assert(self, node: ast.Assert) -> None:
        pass

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass

    def visit_Import(self, node: ast.Import) -> None:
        pass

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        pass

    def visit_Assign(self, node: ast.Assign) -> None:
        named = {target.id for target in node.targets if isinstance(target, ast.Name)}
        if "__all__" in named or any(
            name[:1].isupper() and name.isidentifier() and not name.isupper() for name in named
        ):
            return  # a list of names, or a type
        self.generic_visit(node)


def _spelled(operator: ast.cmpop) -> str:
    """Return a comparison's operator as it is written."""
    flips = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
    words = {ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in"}
    return {**flips, **words}[type(operator)]


def _is_text(node: ast.expr) -> bool:
    """Whether an expression is text or bytes, which have no other operator than `+`."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def all_changes(sources: dict[str, str]) -> Iterator[Change]:
    """Yield the changes of several files, by file and place."""
    for file in sorted(sources):
        yield from changes_of(file, sources[file])
