"""Lazy component tables: a name maps to ``module:Class`` and is imported only when asked for.

A name with a colon is a plug-in (``my_method:MyMethod``), so that a user's own component needs no fork.

The suite's own components have their configuration in a module that imports no torch, and name it beside their class:
a plan or a table needs what may be set of a component, its version and little else, and appears at once.
"""

import ast
import hashlib
import importlib
import importlib.util
import threading
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from vireid.core.errors import UserError, did_you_mean

C = TypeVar("C")


class Configured(Generic[C]):
    """Base of registered components that are built from their configuration, which also declares their version."""

    Config: ClassVar[type[Any]]
    version: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        """Take over the version of the configuration."""
        super().__init_subclass__(**options)
        if "Config" in vars(cls):
            cls.version = cls.Config.version

    def __init__(self, config: C) -> None:
        self.config = config


class Registry:
    """Table of the components of one kind (``"model"``, ``"weighting"``, …).

    Every component class has ``Config`` (a strict pydantic model with a ``name`` field) and ``version`` (a string
    that enters the run identity and is raised when a change alters results).

    Args:
        kind: of its components, for messages.
        table: name -> ``module:Class``.
        configs: name -> ``module:Config`` of those whose ``Config`` is to be had without the class; it then has the
            ``version`` too, and what else others may ask before a component is built (``visible_views``).
        methods: optional method of the contract -> names of the components in ``configs`` that have it.
    """

    def __init__(
        self,
        kind: str,
        table: Mapping[str, str],
        configs: Mapping[str, str] | None = None,
        methods: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.kind = kind
        self._table = dict(table)
        self._configs = dict(configs or {})
        self._methods = {method: frozenset(names) for method, names in (methods or {}).items()}

    def names(self) -> list[str]:
        """Registered names in table order."""
        return list(self._table)

    def check(self, name: str) -> None:
        """Make sure that there is a component of that name; the suite's own are not imported for it.

        Raises:
            UserError: as ``load``.
        """
        if name not in self._table:
            self.load(name)

    def load(self, name: str) -> Any:
        """Import and return the component class called ``name``.

        Raises:
            UserError: unknown name, or a plug-in whose module or class cannot be found.
        """
        component = self._import(name, self._target(name))
        for needed in ("Config", "version"):
            if not hasattr(component, needed):
                raise UserError(f"{self.kind} '{name}': class '{component.__name__}' lacks the attribute '{needed}'")
        return component

    def config(self, name: str) -> Any:
        """The configuration class of a component; of the suite's own without importing the component.

        Raises:
            UserError: as ``load``.
        """
        return self._import(name, self._configs[name]) if name in self._configs else self.load(name).Config

    def version(self, name: str) -> str:
        """Version of a component, as ``config`` gives its configuration.

        Raises:
            UserError: as ``load``.
        """
        return str(self._declaring(name).version)

    def declared(self, name: str, attribute: str, default: Any) -> Any:
        """What a component says of itself in an attribute before it is built, as ``config`` gives its configuration.

        Raises:
            UserError: as ``load``.
        """
        return getattr(self._declaring(name), attribute, default)

    def has_method(self, name: str, method: str) -> bool:
        """Whether a component has an optional method; of the suite's own without importing the component.

        Raises:
            UserError: as ``load``.
        """
        if name in self._configs and method in self._methods:
            return name in self._methods[method]
        return callable(getattr(self.load(name), method, None))

    def _declaring(self, name: str) -> Any:
        return self.config(name) if name in self._configs else self.load(name)

    def _import(self, name: str, target: str) -> Any:
        module_name, _, attribute = target.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and module_name.startswith(error.name):
                where = f"not found in {Path.cwd()} or elsewhere on the Python path"
            else:
                where = f"needs the package '{error.name}', which is not installed"
            raise UserError(f"{self.kind} '{name}': module '{module_name}' {where}") from error
        if not hasattr(module, attribute):
            classes = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module_name]
            raise UserError(
                f"{self.kind} '{name}': module '{module_name}' has no '{attribute}'{did_you_mean(attribute, classes)}"
            )
        return getattr(module, attribute)

    def source_digest(self, name: str) -> str:
        """Digest of the component's module and of what it imports, see ``source_digest``."""
        return source_digest(self._target(name).partition(":")[0])

    def _target(self, name: str) -> str:
        if ":" in name:
            return name
        if name not in self._table:
            raise UserError(
                f"unknown {self.kind} '{name}'{did_you_mean(name, self._table)} (or give your own as module:Class)"
            )
        return self._table[name]


_CORE = __name__.rpartition(".")[0] + "."
_DRAWS = f"{_CORE}seeding"


def source_digest(*sources: str) -> str:
    """Digest of what modules do, and those of their own package that they import; of ``module:function``, it alone.

    It is taken of the statements of the modules, each by its syntax tree without docstrings, and of no import from
    their own package: a corrected sentence, a described attribute, a moved file, two files made one change nothing.
    The suite's core (errors, registries, configuration) is left out, but for the draws: it changes with every new
    feature and decides no result, and would mark all records as stale each time. So would the tables of components.
    """
    essences: set[str] = set()
    for source in sources:
        module, _, function = source.partition(":")
        for path in [_file(module)] if function else _sources(module):
            if path is not None:
                essences |= _essence(path, Path(path).stat().st_mtime_ns, module.partition(".")[0], function)
    return f"tree:{hashlib.sha256(chr(10).join(sorted(essences)).encode()).hexdigest()[:12]}"


_PARSING = threading.Lock()


def _parsed(file: str) -> ast.Module:
    """The syntax tree of a file, one at a time.

    Python 3.11 counts the depth of trees for all threads together and now and then fails where two threads parse (its
    issue 106905); two fits of a study that fail at once are told from two threads.
    """
    text = Path(file).read_text(encoding="utf-8")
    with _PARSING:
        return ast.parse(text)


@cache
def _sources(module_name: str) -> frozenset[str]:
    """Files of a module and of what it imports within its top-level package, followed through."""
    files: dict[str, str] = {}
    queue = [module_name]
    top = module_name.partition(".")[0]
    while queue:
        name = queue.pop()
        if name in files or (f"{name}.".startswith(_CORE) and name != _DRAWS):
            continue
        if (file := _file(name)) is None:
            continue
        files[name] = file
        package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
        queue += _imported(file, Path(file).stat().st_mtime_ns, package, top)
    return frozenset(files.values())


@cache
def _imported(file: str, _changed: int, package: str, top: str) -> tuple[str, ...]:
    """What a file may import from its own top-level package: modules, or names in them. Components share most files."""
    imported: list[str] = []
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names if alias.name.partition(".")[0] == top]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], node.module or ""])
            base = base.strip(".") if node.level else node.module or ""
            if base.partition(".")[0] == top:
                imported += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(imported)


def _file(module: str) -> str | None:
    """The source file of a module, found without importing anything on the way to it."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    if not rest:
        return spec.origin
    location = Path(spec.origin).parent.joinpath(*rest)
    return next((str(file) for file in (location / "__init__.py", location.with_suffix(".py")) if file.is_file()), None)


@cache
def _essence(path: str, _changed: int, top: str, function: str) -> frozenset[str]:
    """Digests of the statements of a file, or of one function's alone."""
    body = _parsed(path).body
    chosen = [node for node in body if not function or getattr(node, "name", None) == function]
    statements = [
        _plain(node, top) for node in chosen if not (_is_text(node) or _is_plain_import(node, top) or _is_table(node))
    ]
    return frozenset(hashlib.sha256(repr(statement).encode()).hexdigest() for statement in statements)


def _plain(node: Any, top: str) -> Any:
    """A syntax tree as nested tuples that no Python version spells otherwise: empty fields are left out."""
    if isinstance(node, list):
        return [_plain(part, top) for part in node if not _is_text(part)]
    if not isinstance(node, ast.AST):
        return node
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None}
    if _is_internal_import(node, top):  # within a function: what it imports, wherever that lies now
        fields = {"names": fields["names"]}
    plain = {name: _plain(value, top) for name, value in fields.items()}
    return (type(node).__name__, *((name, value) for name, value in plain.items() if value != []))


def _is_text(node: Any) -> bool:
    """A docstring of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_table(node: Any) -> bool:
    """A table of components: whoever takes one from it names it, and a further one changes nothing for the others."""
    called = node.value.func if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) else None
    return isinstance(called, ast.Name) and called.id == Registry.__name__


def _is_plain_import(node: Any, top: str) -> bool:
    """An import from the own package under the names given there; one that renames says what a name means here."""
    return _is_internal_import(node, top) and all(alias.asname is None for alias in node.names)


def _is_internal_import(node: Any, top: str) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or (node.module or "").partition(".")[0] in (top, "__future__")
    return isinstance(node, ast.Import) and all(alias.name.partition(".")[0] == top for alias in node.names)
