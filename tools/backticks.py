"""Names in back-ticks exist: python -m tools.backticks

Looks at what stands in back-ticks in comments and docstrings of the Python files, in the comments of the API, and in
the pages. What looks like a name has to be one:

- a path, or the end of one: a file or folder of the repository, or one that the code makes;
- a name, with or without what it is called, indexed or set with: in code, a word of the same file's code, or a name
  that is defined where the file may import from; in pages, any name, or a value of the code;
- names joined by dots: in that module, or a member of that class;
- a target of make, a command of fasttree, a module that Python runs, an option: there.

All else (numbers, expressions, shapes of texts) is left alone. What looks like a name and is none is in `NO_NAMES`.
"""

from __future__ import annotations

import ast
import builtins
import io
import keyword
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click

from fasttree.command.main import cli

ROOT = Path(__file__).parents[1]

_LIBRARY = "a name of a library or a standard"
_SHAPE = "the shape of a text, not the text"
_KUBERNETES = "a word of Kubernetes"
_METRIC = "a metric, whose name is made of the service's and its own"
#: What looks like a name and is none of ours, to the reason why it may stand there.
NO_NAMES = {
    ".demo/": "made by `make demo`",
    ".demo/endpoints.json": "made by `make demo`",
    ".venv/": "made by `make setup`",
    "compress": "short for REMOVAL_MODE_COMPRESS",
    "leaves": "short for REMOVAL_VOLUME_LEAVES",
    "cv": "a column is named for a volume type",
    "INSTALL_PACKAGES=yes": "read by `tools/need`",
    "binutils": "a package of Debian's",
    "KUBECONFIG": "read by kubectl",
    "venv": "Debian's package has Python's module in it",
    "crl": "a word of Envoy's configuration",
    "trusted_ca": "a word of Envoy's configuration",
    "runbook_url": "a word of Prometheus' alert rules",
    "rpc.system.name": _LIBRARY,
    "rpc.server.call.duration": _LIBRARY,
    "fasttree_pusher_spans_total": _METRIC,
    "fasttree_pusher_metric_readings_total": _METRIC,
    "google.rpc.ErrorInfo": _LIBRARY,
    "google.rpc.RetryInfo": _LIBRARY,
    "google.rpc.BadRequest": _LIBRARY,
    "grpc.health.v1": _LIBRARY,
    "surrogateescape": _LIBRARY,
    "max_connection_duration": _LIBRARY,
    "tls.crt": "a certificate's file, as cert-manager names it; so is `ca.crt`",
    "ca.crt": "as `tls.crt`",
    "x-forwarded-client-cert": "a header of Envoy's",
    "tls_config": "a word of Prometheus",
    "synchronous_standby_names": "a setting of PostgreSQL",
    "nsc": "a program of NATS",
    "aws_access_key_id": "a word of Amazon's tools",
    "aws_secret_access_key": "a word of Amazon's tools",
    "If-None-Match": "a header of HTTP",
    "max_payload": "a setting of NATS",
    "cert_file": "a word of Prometheus",
    "key_file": "a word of Prometheus",
    "htelevox.log": "a file of messages, as DataTrax's people know it",
    "log.db": "a file of the pusher's, as `log.end` beside it",
    "fasttree_pusher_closed": _METRIC,
    "fasttree_pusher_log_damaged_records": _METRIC,
    "fasttree_pusher_node_import_unknown": _METRIC,
    "fasttree_node_pusher_refused": _METRIC,
    "fasttree_node_periods_missing": _METRIC,
    "fasttree_node_stored_snapshot_age_seconds": _METRIC,
    "fasttree_node_stored_snapshot_position": _METRIC,
    "fasttree_node_stored_snapshot_unfit": _METRIC,
    "fasttree_node_call_seconds": _METRIC,
    "fasttree_node_call_seconds_count": _METRIC,
    "restricted": _KUBERNETES,
    "ContainerCreating": _KUBERNETES,
    "Pending": _KUBERNETES,
    "Running": _KUBERNETES,
    "OOMKilled": _KUBERNETES,
    "allowVolumeExpansion": _KUBERNETES,
    "treenode.storage.className": "a value of the Helm chart",
    "vip.service.sourceRanges": "the same",
    "tls.certManager.enabled=true": "the same",
    "tls.certManager.issuer": "the same",
    "REPLICAS": "what components/tls/secrets.sh is told",
    ".py": _SHAPE,
    "DIR": _SHAPE,
    "python -m services.NAME --config FILE --set section.field=value": _SHAPE,
    "FASTTREE_TREENODE_REPORT_PORT=50100": "made of the setting's name",
    "FASTTREE_TLS_MODE": "made of the setting's name",
}

_CODE = ("services", "client", "bench", "tests", "tools")
#: Tells of names that are gone; and of figures, which a test holds to what the services declare.
_NOT_READ = ("CHANGELOG.md", "docs/metrics.md")
_SUFFIXES = (".py", ".md", ".toml", ".txt", ".proto", ".yaml", ".cfg", ".lua", ".html")
#: Longer texts are for readers.
_VALUE_LENGTH_MAX = 60
_PYTHON = {*dir(builtins), *keyword.kwlist}
_QUOTED = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_NAME = re.compile(r"(_*[A-Za-z]\w*(?:\.\w+)*)(?:\(.*\)|\[.*\]|=.*)?")
#: FILE.done: the reader puts a name there.
_STANDS_FOR_A_NAME = re.compile(r"[A-Z]+\.")
_PATH = re.compile(r"\.?\w[\w.-]*(?:/[\w.-]+)*/?")


def _area(path: str) -> str:
    """services/NAME, or the first folder."""
    return "/".join(path.split("/")[: 2 if path.startswith("services/") else 1])


class Names:
    """Every name that the repository defines."""

    def __init__(self, root: Path) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        self.root = root
        self.files = [path for path in listed.stdout.split() if (root / path).is_file()]
        self.paths = {*self.files, *(str(above) for path in self.files for above in Path(path).parents)}
        #: Area to the names that are defined in it.
        self.defined: dict[str, set[str]] = defaultdict(set)
        #: Class to its members, bases not counted; and to the bases.
        self.members: dict[str, set[str]] = defaultdict(set)
        self.bases: dict[str, set[str]] = defaultdict(set)
        #: Module to what it defines or imports.
        self.modules: dict[str, set[str]] = {}
        #: Texts that the code has as a whole.
        self.values: set[str] = set()
        self.options: set[str] = set()
        for path in self.python_files():
            self._add_module(path)
        for path in self.files:
            if path.endswith(".proto"):
                self._add_proto((root / path).read_text(encoding="utf-8"))
        self.targets = set(re.findall(r"^([a-z0-9-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    def python_files(self) -> list[str]:
        """Those that are written by hand."""
        return [path for path in self.files if path.endswith(".py") and path.split("/")[0] in _CODE]

    def seen_from(self, path: str) -> set[str]:
        """The names that a file may speak of: a service knows itself and what is shared, the client no service."""
        area = _area(path)
        areas = {area, "proto", "services/shared"} if area.startswith(("services/", "client")) else {*self.defined}
        return _PYTHON.union(*(self.defined[area] for area in areas))

    def _add_module(self, path: str) -> None:
        tree = ast.parse((self.root / path).read_text(encoding="utf-8"))
        own: set[str] = set()
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    own.add(name)
                    own.update(argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg))
                case ast.ClassDef(name=name):
                    own.add(name)
                    self.members[name] |= set(_members(node))
                    self.bases[name] |= {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
                case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                    own.add(name)
                case ast.alias():
                    own.add((node.asname or node.name).split(".")[0])
                case ast.Constant(value=str(text)) if len(text) < _VALUE_LENGTH_MAX and id(node) not in docstrings:
                    self.values.add(text)
                    self.options.update(re.findall(r"--[a-z][\w-]+", text))
        dotted = path.removeprefix("client/").removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        self.modules[dotted] = own
        self.defined[_area(path)] |= own | set(dotted.split("."))

    def _add_proto(self, text: str) -> None:
        code = re.sub(r"//.*", "", text)
        named = re.findall(r"\b(?:message|enum|service|rpc|oneof)\s+(\w+)", code)
        self.defined["proto"].update(named, re.findall(r"\b(\w+)\s*=\s*\d+", code))
        self.modules.setdefault("fasttree.v1", set()).update(named)

    def has_path(self, text: str) -> bool:
        """A file or folder whose path ends so; or one that the code makes, under a name that stands in it."""
        text = text.rstrip("/")
        if any(path == text or path.endswith("/" + text) for path in self.paths):
            return True
        return not text.endswith((".py", ".md")) and text.split("/")[-1] in self.values

    def has_member(self, owner: str, name: str) -> bool:
        """A member of the class or of one above it; where one of those is not ours, anything may be."""
        if owner not in self.members:
            return True
        if name in self.members[owner]:
            return True
        return any(self.has_member(base, name) for base in self.bases[owner] if base not in ("object", "Protocol"))

    def has_name(self, text: str, seen: set[str]) -> bool:
        """A name that is seen from the file, or names joined by dots."""
        parts = text.split(".")
        for length in range(len(parts), 1, -1):
            if (module := ".".join(parts[:length])) in self.modules:
                return all(part in self.modules[module] for part in parts[length : length + 1])
        if len(parts) > 1 and parts[0] in self.members:
            return self.has_member(parts[0], parts[1])
        return all(part in seen for part in parts)


def _members(node: ast.ClassDef) -> Iterator[str]:
    for inner in ast.walk(node):
        match inner:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                yield name


def _python_texts(source: str) -> tuple[list[tuple[int, str]], set[str]]:
    """Comments and docstrings, each with its line; and the words of the code."""
    texts, words = [], set()
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        node.body[0].lineno
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    }
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.start[0] in docstrings):
            texts.append((token.start[0], token.string))
        elif token.type in (tokenize.NAME, tokenize.STRING):
            words.update(re.findall(r"\w+", token.string))
    return texts, words


def quoted(path: str, source: str) -> tuple[list[tuple[int, str]], set[str]]:
    """What stands in back-ticks in a file, each with its line; and the words of its code."""
    words: set[str] = set()
    if path.endswith(".py"):
        texts, words = _python_texts(source)
    else:
        texts = [(1, re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), source, flags=re.M | re.S))]
    found = []
    for line, text in texts:
        found += [(line + text.count("\n", 0, match.start()), match[1]) for match in _QUOTED.finditer(text)]
    return found, words


def problem(text: str, names: Names, seen: set[str]) -> str:
    """What is wrong with a text in back-ticks; empty where nothing is. `seen`: the names that the file may speak of."""
    first, _, rest = text.partition(" ")
    if first == "make" and rest:
        return "" if rest.split()[0] in names.targets else "no such target of the Makefile"
    if first == "fasttree" and rest:
        return "" if _has_command(rest.split()) else "no such command"
    if text.startswith("python -m "):
        module = text.split()[2]
        return "" if {module, f"{module}.__main__"} & names.modules.keys() else "no such module"
    if re.fullmatch(r"--[a-z][a-z-]*", first):
        return "" if first in names.options else "no such option"
    if _is_path(text):
        return "" if names.has_path(text) else "no such file or folder"
    if (match := _NAME.fullmatch(text)) and not _STANDS_FOR_A_NAME.match(text):
        return "" if names.has_name(match[1], seen) else "no such name"
    return ""


def _is_path(text: str) -> bool:
    if not _PATH.fullmatch(text) or any(part.isupper() for part in re.split(r"\W+", text) if len(part) > 1):
        return False
    return "/" in text or text.endswith(_SUFFIXES)


def _has_command(words: list[str]) -> bool:
    command: click.Command = cli
    for word in words:
        if not isinstance(command, click.Group) or not re.fullmatch(r"[a-z-]+", word):
            return True
        if word not in command.commands:
            return word.startswith("-")
        command = command.commands[word]
    return True


def problems(root: Path, no_names: dict[str, str]) -> Iterator[str]:
    """Each name that is none, as `path:line: what: mend`; and each exception that excepts nothing."""
    names = Names(root)
    unused = set(no_names)
    pages = [path for path in names.files if path.endswith((".md", ".proto")) and path not in _NOT_READ]
    for path in [*names.python_files(), *pages]:
        found, words = quoted(path, (root / path).read_text(encoding="utf-8"))
        seen = names.seen_from(path) | (words if path.endswith(".py") else names.values)
        for line, text in found:
            if text in no_names:
                unused.discard(text)
            elif what := problem(text, names, seen):
                yield f"{path}:{line}: `{text}`: {what}: name what is there now, or list it in tools/backticks.py"
    for text in sorted(unused):
        yield f"tools/backticks.py: {text!r} stands nowhere any more: remove the line"


def main() -> None:
    """Prints the problems; fails where there is one."""
    found = list(problems(ROOT, NO_NAMES))
    print("\n".join(found) or "names in back-ticks: all there")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
