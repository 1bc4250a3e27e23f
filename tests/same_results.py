"""Whether another checkout plans the same runs and reports the same: ``python tests/same_results.py OLD_CHECKOUT``.

A script for refactorings, not a test. Each checkout works in a process of its own with its own ``.venv``. Compared are
the ids of every planned run (also with the committed plans), and of every committed study each notebook's tables,
summary, figures and the numbers in its text, in order. Other words are printed and are no fault.
"""

from __future__ import annotations

import ast
import difflib
import html
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
NOTEBOOKS = ("ablation", "comparison", "hardware")
NUMBER = re.compile(r"\d[\d,.]*\d|\d")


def plans() -> dict[str, Any]:
    """Cell, seed and ids of every run of every study in ``ablations/`` of the checkout that is the working folder."""
    from vireid.ablation.plan import make_plan
    from vireid.ablation.study import read_study

    planned = {}
    for path in sorted(Path("ablations").glob("*.yaml")):
        plan, _ = make_plan(read_study(path))
        planned[path.stem] = [ids(run) for run in plan.model_dump(mode="json")["runs"]]
    return planned


def ids(run: dict[str, Any]) -> list[Any]:
    """What names a planned run and its records."""
    return [run[key] for key in ("cell", "seed", "fit", "evaluations", "cost")] + [run.get("deployed", [])]


def render(study: str, notebook: str, out: Path) -> None:
    """Run a notebook's code cells here and keep what they show; PDF copies, which repeat the SVG, are left out."""
    from matplotlib.figure import Figure

    save = Figure.savefig

    def without_pdf(self: Figure, target: Any, **how: Any) -> None:
        if how["format"] != "pdf":
            save(self, target, **how)

    setattr(Figure, "savefig", without_pdf)  # noqa: B010 - the type checker knows of no other way
    names = {"store": "results", "study": study, "out": str(out), "stale": []}
    content = json.loads(Path("notebooks", f"{notebook}.ipynb").read_text(encoding="utf-8"))
    shown = []
    for cell in content["cells"]:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            *statements, last = ast.parse("".join(cell["source"])).body
            exec(compile(ast.Module(statements, []), notebook, "exec"), names)
            assert isinstance(last, ast.Expr)
            value = eval(compile(ast.Expression(last.value), notebook, "eval"), names)
            shown.append(value.__html__() if hasattr(value, "__html__") else value._repr_html_())
    (out / "page.html").write_text("\n".join(shown), encoding="utf-8")


def work(out: Path) -> None:
    """Everything that one checkout says, under ``out``."""
    out.joinpath("plans.json").write_text(json.dumps(plans()), encoding="utf-8")
    for plan in sorted(Path("results/studies").glob("*/plan.json")):
        for notebook in NOTEBOOKS:
            folder = out / plan.parent.name / notebook
            folder.mkdir(parents=True)
            render(plan.parent.name, notebook, folder)


def lines(path: Path) -> list[str]:
    """A file's text: of a page without its markup, of a drawing without its title, date and random names."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".svg":
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r"(clip-path=\"url\(#|<clipPath id=\")p[0-9a-f]+", r"\1", text)  # named by addresses in memory
    if path.suffix == ".html":
        text = re.sub(r'(src|alt|class|id|href|colspan|scope)="[^"]*"', "", text)
        text = html.unescape(re.sub(r"<[^>]*>", "\n", text))
    return [line for line in map(str.strip, text.splitlines()) if line]


def differences(old: Path, new: Path) -> list[str]:
    """Faults: files that only one has, values that differ. Prints where merely words do."""
    files = {path.relative_to(root) for root in (old, new) for path in root.rglob("*") if path.is_file()}
    faults = []
    for file in sorted(files):
        if not ((old / file).is_file() and (new / file).is_file()):
            faults.append(f"{file}: only in the {'old' if (old / file).is_file() else 'new'} checkout")
            continue
        before, after = lines(old / file), lines(new / file)
        if before == after:
            continue
        diff = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
        numbers = [NUMBER.findall("\n".join(text)) for text in (before, after)]
        if file.suffix in (".csv", ".tex", ".svg", ".json") or numbers[0] != numbers[1]:
            faults.append("\n  ".join([f"{file}: values differ", *diff[:20]]))
        else:
            print("\n  ".join([f"{file}: other words, same numbers", *diff[:20]]))
    return faults


def main(old: Path) -> int:
    """Compare; 1 where something differs."""
    with tempfile.TemporaryDirectory() as name:
        outs = {label: Path(name, label) for label in ("old", "new")}
        started = []
        for checkout, out in zip((old, HERE), outs.values(), strict=True):
            out.mkdir()
            command = [str(checkout / ".venv/bin/python"), "-P", __file__, "--work", str(out)]
            started.append(subprocess.Popen(command, cwd=checkout))
        if sum(process.wait() for process in started):
            return 1
        faults = differences(outs["old"], outs["new"])
        planned = json.loads((outs["new"] / "plans.json").read_text(encoding="utf-8"))
        for path in sorted((HERE / "results/studies").glob("*/plan.json")):
            committed = [ids(run) for run in json.loads(path.read_text(encoding="utf-8"))["runs"]]
            if planned.get(path.parent.name) != committed:
                faults.append(f"{path.relative_to(HERE)}: planning gives other ids")
        compared = sum(1 for path in outs["new"].rglob("*") if path.is_file())
        runs = sum(map(len, planned.values()))
        print("\n".join(faults) or f"same: {runs} planned runs of {len(planned)} studies, {compared} files of reports")
    return bool(faults)


if __name__ == "__main__":
    if sys.argv[1] == "--work":
        work(Path(sys.argv[2]))
    else:
        sys.exit(main(Path(sys.argv[1]).resolve()))
