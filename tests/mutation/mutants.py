"""The mutants of a source file, made by the operators of mutmut."""

from __future__ import annotations

import ast
import difflib
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import NEVER_MUTATE_FUNCTION_NAMES, MutationVisitor
from mutmut.mutation.mutators import OPERATORS_TYPE, mutation_operators
from mutmut.mutation.pragma_handling import get_ignored_lines

__all__ = ["Mutant", "mutants_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A source with one change.

    Attributes:
        function: Dotted name of the function or class that contains the change; empty at the top
            level of the module.
        before: The changed lines of the original, stripped and joined by spaces.
        after: The same lines of the mutant.
        previous: The line before the change, stripped.
        source: The whole mutated source.
    """

    function: str
    before: str
    after: str
    previous: str
    source: str


def _negate(node: cst.If | cst.While) -> Iterable[cst.CSTNode]:
    """Turn a condition into its opposite."""
    test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(), test))


def _remove_call(node: cst.Expr) -> Iterable[cst.CSTNode]:
    """Remove a statement that consists of a call."""
    if isinstance(node.value, cst.Call):
        yield node.with_changes(value=cst.Ellipsis())


_OPERATORS: OPERATORS_TYPE = [
    *mutation_operators,
    (cst.If, _negate),
    (cst.While, _negate),
    (cst.Expr, _remove_call),
]

# Code that only the type checker, documentation or the text of a message depends on.
_UNTESTED = (
    m.Call(func=m.Name("error_message") | m.Name("cast"))
    | m.If(test=m.Name("TYPE_CHECKING"))
    | m.Assign(targets=[m.AssignTarget(m.Name("__all__") | m.Name("rule") | m.Name("cure"))])
    | m.AnnAssign(annotation=m.Annotation(m.Name("TypeAlias")))
    | m.Assign(value=m.Call(func=m.Name("TypeVar")))
    | m.SimpleString(value=m.MatchRegex(r"(?s).* .*"))  # a string with a space is prose
    | m.FormattedString()
)
# The argument of zip raises an error that no input can cause.
_STRICT = re.compile(r",\s*(strict=\w+\s*)?\)")


class _Visitor(MutationVisitor):
    """Collects the mutations of a module.

    mutmut itself runs mutants of undecorated functions only, since it keeps all of them in one
    file. Here each mutant is a file, so the module level and decorated functions are included.
    """

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if m.matches(node, _UNTESTED):
            return True
        if isinstance(node, cst.FunctionDef):
            return node.name.value in NEVER_MUTATE_FUNCTION_NAMES
        return super()._skip_node_and_children(node)


def mutants_of(source: str, seed: str) -> Iterator[Mutant]:
    """Yield the mutants of a source in an order that depends on the seed, each once."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = _Visitor(_OPERATORS, get_ignored_lines("", source, wrapper))
    module = wrapper.visit(visitor)
    random.Random(seed).shuffle(visitor.mutations)  # noqa: S311
    scopes = list(_scopes(ast.parse(source)))
    seen = {ast.dump(ast.parse(source))}
    for mutation in visitor.mutations:
        changed = module.deep_replace(mutation.original_node, mutation.mutated_node)
        assert isinstance(changed, cst.Module)
        try:
            compile(changed.code, "mutant", "exec")
            tree = ast.dump(ast.parse(changed.code))
        except SyntaxError:
            continue
        if _STRICT.sub(")", changed.code) == _STRICT.sub(")", source):
            continue
        if tree not in seen:
            seen.add(tree)
            yield _describe(source, changed.code, scopes)


def _describe(source: str, mutated: str, scopes: list[tuple[str, range]]) -> Mutant:
    old, new = source.splitlines(), mutated.splitlines()
    changes = [
        change
        for change in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if change[0] != "equal"
    ]
    line = changes[0][1] + 1
    return Mutant(
        # The innermost scope comes last.
        function=[name for name, lines in scopes if line in lines][-1],
        before=" ".join(text.strip() for _, i, j, _, _ in changes for text in old[i:j]),
        after=" ".join(text.strip() for _, _, _, i, j in changes for text in new[i:j]),
        previous=old[line - 2].strip() if line > 1 else "",
        source=mutated,
    )


def _scopes(tree: ast.AST, name: str = "") -> Iterator[tuple[str, range]]:
    """Yield the name and the lines of the module, its classes and functions, outer ones first."""
    if isinstance(tree, ast.Module):
        yield "", range(10**9)
    for node in ast.iter_child_nodes(tree):
        inner = name
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{name}.{node.name}".removeprefix(".")
            yield inner, range(node.lineno, (node.end_lineno or node.lineno) + 1)
        yield from _scopes(node, inner)
