"""What is changed: every mutant of a module, as a change to its syntax tree that can be made in place."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: An order flips at its boundary and to its opposite; everything else to its opposite.
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
#: Statements that say something to a reader or a log, not to the rest of the program.
_TOLD = ("logger.", "_logger.", "print(")
#: They look whether the rest is right, or tell a reader what is; nothing goes another way because of them. The planted
#: bugs of the simulator hold them.
CHECKS = ("validate", "problem", "_problem", "problems", "broken_rules", "__repr__", "__str__")
#: An assertion by another name: it says that the program has a fault.
_ASSERTION = re.compile(r"raise [\w.]*[Bb]roken\w*\(")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. `apply` makes it, in the tree that the mutants were found in."""

    path: str
    line: int
    #: Names joined by dots; "module" outside of all.
    function: str
    #: Names it for good: the line may change, this does not as long as the code is the same.
    name: str
    apply: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.name.removeprefix(self.path).strip()}"


@dataclass(frozen=True, slots=True)
class _Change:
    node: ast.AST
    before: str
    after: str
    apply: Callable[[], None]


def find_mutants(path: str, tree: ast.Module) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    seen: Counter[str] = Counter()
    mutants = []
    for function, change in _Finder().module(tree):
        name = f"{path} {function}: {change.before} -> {change.after}"
        seen[name] += 1
        if seen[name] > 1:
            name += f" ({seen[name]})"
        mutants.append(Mutant(path, getattr(change.node, "lineno", 0), function, name, change.apply))
    return mutants


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _set(owner: ast.AST, field: str, index: int | None, new: ast.AST) -> Callable[[], None]:
    def apply() -> None:
        ast.fix_missing_locations(ast.copy_location(new, getattr(owner, field) if index is None else owner))
        if index is None:
            setattr(owner, field, new)
        else:
            getattr(owner, field)[index] = new

    return apply


class _Finder:
    """Walks a module. Annotations, decorators, texts for readers and checks are left as they are."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._returns: list[ast.expr | None] = [None]

    def module(self, tree: ast.Module) -> Iterator[tuple[str, _Change]]:
        """The changes, each with the function or class that it is in."""
        yield from self._statements(tree, "body")

    def _found(self, node: ast.AST, after: str, apply: Callable[[], None]) -> tuple[str, _Change]:
        return ".".join(self._names) or "module", _Change(node, _text(node), after, apply)

    # -- statements

    def _statements(self, owner: ast.AST, field: str) -> Iterator[tuple[str, _Change]]:
        for index, statement in enumerate(getattr(owner, field)):
            yield from self._statement(owner, field, index, statement)

    def _statement(self, owner: ast.AST, field: str, index: int, node: ast.stmt) -> Iterator[tuple[str, _Change]]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if node.name not in CHECKS:
                    yield from self._function(node)
                return
            case ast.ClassDef():
                yield from self._class(node)
                return
            case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.Pass():
                return
            case ast.If() if "TYPE_CHECKING" in _text(node.test):
                return
            case ast.Expr(value=ast.Constant()):
                return
        if _text(node).startswith(_TOLD):
            return
        if _ASSERTION.match(_text(node)):
            return
        if self._names and _removable(node):
            first = _text(node)
            yield self._found(node, "nothing", _set(owner, field, index, ast.Pass()))
            if isinstance(node, ast.Raise) or first == "return":
                return
        if isinstance(node, ast.Return) and node.value is not None:
            yield from self._return(node)
        yield from self._children(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, _Change]]:
        self._names.append(node.name)
        self._returns.append(node.returns)
        yield from self._expressions(node.args, "defaults")
        yield from self._expressions(node.args, "kw_defaults")
        yield from self._statements(node, "body")
        self._names.pop()
        self._returns.pop()

    def _class(self, node: ast.ClassDef) -> Iterator[tuple[str, _Change]]:
        # What stands in a class beside its methods is fields with their defaults: settings, not rules.
        self._names.append(node.name)
        for index, statement in enumerate(node.body):
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._statement(node, "body", index, statement)
        self._names.pop()

    def _return(self, node: ast.Return) -> Iterator[tuple[str, _Change]]:
        annotation = self._returns[-1]
        if node.value is None or annotation is None or isinstance(node.value, ast.Constant):
            return
        for value in _other_results(_text(annotation)):
            if _text(node.value) != value:
                new = ast.parse(value, mode="eval").body
                yield self._found(node, f"return {value}", _set(node, "value", None, new))

    # -- expressions

    def _children(self, node: ast.AST) -> Iterator[tuple[str, _Change]]:
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            if isinstance(value, list):
                if value and isinstance(value[0], ast.stmt):
                    yield from self._statements(node, field)
                else:
                    yield from self._expressions(node, field)
            elif isinstance(value, ast.expr):
                yield from self._expression(node, field, None, value)
            elif isinstance(value, ast.AST):
                yield from self._children(value)

    def _expressions(self, owner: ast.AST, field: str) -> Iterator[tuple[str, _Change]]:
        for index, value in enumerate(getattr(owner, field)):
            if isinstance(value, ast.expr):
                yield from self._expression(owner, field, index, value)
            elif isinstance(value, ast.AST):
                yield from self._children(value)

    def _expression(
        self, owner: ast.AST, field: str, index: int | None, node: ast.expr
    ) -> Iterator[tuple[str, _Change]]:
        def put(new: ast.expr) -> tuple[str, _Change]:
            return self._found(node, _text(new), _set(owner, field, index, new))

        if isinstance(node, ast.JoinedStr):
            return
        for new in _other_expressions(node):
            yield put(new)
        if field == "test" and not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield put(ast.UnaryOp(ast.Not(), node))
        if field == "guard":
            yield put(ast.Constant(True))
        yield from self._children(node)


def _removable(node: ast.stmt) -> bool:
    """Whether the program can go on without it: nothing that binds a local name."""
    match node:
        case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Break() | ast.Continue():
            return True
        case ast.Return():
            return node.value is None
        case ast.Assign():
            return all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets)
        case ast.AnnAssign():
            return isinstance(node.target, ast.Attribute | ast.Subscript)
    return False


def _other_results(annotation: str) -> list[str]:
    if annotation == "bool":
        return ["True", "False"]
    if annotation.endswith("| None"):
        return ["None"]
    if annotation.startswith(("list[", "Iterator[", "Iterable[", "Sequence[")):
        return ["[]"]
    if annotation.startswith("tuple[") and annotation.endswith(", ...]"):
        return ["()"]
    return ["0"] if annotation in ("int", "float") else []


def _other_expressions(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                for other in _COMPARISONS[type(operator)]:
                    operators = [*node.ops[:index], other(), *node.ops[index + 1 :]]
                    yield ast.Compare(node.left, operators, node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
            for index in range(len(node.values)):
                rest = [*node.values[:index], *node.values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.UnaryOp(op=ast.USub()) if not isinstance(node.operand, ast.Constant):
            yield node.operand
        case ast.BinOp() if type(node.op) in _OPERATORS:
            yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
            if value > 0:
                yield ast.Constant(value - 1)
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            yield ast.Call(ast.Name(_FUNCTIONS[name], ast.Load()), node.args, node.keywords)
        case ast.List(ctx=ast.Load()) if not any(isinstance(element, ast.Constant) for element in node.elts):
            # A list of actions, most often: each one left out.
            for index in range(len(node.elts)):
                yield ast.List([*node.elts[:index], *node.elts[index + 1 :]], ast.Load())
        case ast.IfExp():
            yield node.body
            yield node.orelse
