"""The import directions of docs/architecture.md, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# package or module -> what it may import of this project (prefixes; itself always)
ALLOWED = {
    "server": ("engine", "demo"),
    "demo": (),
    # what makes the checkpoint and measures it is no part of serving
    "demo.training": ("demo", "server", "engine"),
    "demo.train": ("demo",),
    "demo.evaluate": ("demo", "server", "engine"),
    "engine.messages": (),
    "engine.errors": (),
    "engine.config": ("engine.errors",),
    "engine.checkpoint_json": ("engine.errors",),
    "engine.vocabulary": ("engine.checkpoint_json", "engine.errors"),
    "engine.grammar": ("engine.scheduling.plan", "engine.vocabulary", "engine.messages", "engine.errors"),
    "engine.scheduling": ("engine.messages", "engine.config", "engine.errors"),
    "engine.kernels.formats": (),
    "engine.kernels": ("engine.errors",),
    "engine.layers": ("engine.kernels", "engine.models.batch", "engine.models.config", "engine.errors"),
    "engine.models": ("engine.layers", "engine.kernels", "engine.errors"),
    "engine.weights": ("engine.models", "engine.layers.weight", "engine.kernels", "engine.errors"),
    "engine.runner": (
        "engine.models",
        "engine.layers",
        "engine.kernels",
        "engine.grammar",
        "engine.scheduling.plan",
        "engine.messages",
        "engine.config",
        "engine.errors",
    ),
    "engine.quantization_error": (
        "engine.kernels.formats",
        "engine.kernels.packed",
        "engine.layers.weight",
        "engine.models",
        "engine.runner.kv_store",
        "engine.weights",
        "engine.errors",
    ),
    "engine.doctor": ("engine.kernels.registry",),
    "engine.core": ("engine.scheduling", "engine.runner", "engine.grammar", "engine.messages", "engine.errors"),
    "engine.load": (
        "engine.kernels",
        "engine.layers.weight",
        "engine.core",
        "engine.grammar",
        "engine.runner",
        "engine.models",
        "engine.weights",
        "engine.scheduling",
        "engine.messages",
        "engine.config",
        "engine.errors",
    ),
    "engine.process": ("engine.core", "engine.load", "engine.messages", "engine.config", "engine.errors"),
    "engine.supervisor": ("engine.messages", "engine.config"),
    "engine.client": ("engine.supervisor", "engine.messages", "engine.config", "engine.errors"),
    "engine.capacity": ("engine.kernels.formats", "engine.models.config", "engine.models.sizes"),
    "engine": (
        "engine.capacity",
        "engine.kernels.formats",
        "engine.models.config",
        "engine.models.published",
        "engine.client",
        "engine.checkpoint_json",
        "engine.vocabulary",
        "engine.config",
        "engine.errors",
        "engine.messages",
    ),
}
PURE = ("torch", "asyncio", "time", "zmq", "socket", "threading", "os", "io", "pathlib")


def modules() -> dict[str, Path]:
    found = {}
    for package in ("server", "engine", "demo"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Full names of all that a file imports, `from a import b` as a.b where that is a module."""
    names = set()
    known = modules()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in known else str(node.module))
    return names


def rule_for(module: str) -> str:
    return max((name for name in ALLOWED if module == name or module.startswith(name + ".")), key=len)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_one_way(module: str) -> None:
    rule = rule_for(module)
    for name in imports(modules()[module]):
        if name.split(".")[0] not in ("server", "engine", "demo") or (inside(name, rule) and rule != "engine"):
            continue
        assert any(inside(name, allowed) for allowed in ALLOWED[rule]), f"{module} imports {name}"
        if rule == "server":
            assert not name.startswith("engine."), f"{module} imports {name}: only the package root is for the server"


@pytest.mark.parametrize("module", sorted(name for name in modules() if inside(name, "engine.scheduling")))
def test_scheduling_is_pure(module: str) -> None:
    taken = {name.split(".")[0] for name in imports(modules()[module])}
    assert not taken & set(PURE)


def test_the_server_does_not_import_torch() -> None:
    code = "import sys, engine, engine.scheduling.scheduler, server.app, server.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_grammars_need_no_torch() -> None:
    code = "import sys, engine.grammar.waiting, engine.grammar.state; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
