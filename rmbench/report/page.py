"""The report as one HTML file: no script, no network, every text escaped by the template."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from markupsafe import Markup

from rmbench.report.charts import described, draw
from rmbench.report.diagrams import draw_diagram, told
from rmbench.report.escape import plain
from rmbench.report.graphs import draw_graphs, graphs_told

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmbench.report.model import Report
    from rmbench.report.tables import Chart, Diagram, Graphs


class _Packaged(BaseLoader):
    """Loads templates from this package, and from nowhere else."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool]]:
        """Return the text of a template beside this module."""
        del environment
        found = files("rmbench.report").joinpath("templates", template)
        if not found.is_file():
            raise TemplateNotFound(template)
        return found.read_text(encoding="utf-8"), None, lambda: True


def page(report: Report) -> str:
    """Return the whole HTML page."""
    environment = Environment(
        loader=_Packaged(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    style = files("rmbench.report").joinpath("templates", "report.css").read_text(encoding="utf-8")
    environment.filters["svg"] = _svg
    environment.filters["diagram"] = _diagram
    environment.filters["graphs"] = _graphs
    # The style is this package's own file and the hash lets the browser take no other.
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup(style),  # noqa: S704 - a file of this package, no data in it
        style_hash=b64encode(sha256(style.encode()).digest()).decode(),
        described=described,
        told=told,
        graphs_told=graphs_told,
    )


def _shown(value: object) -> object:
    """Return what stands in the page: text without controls, whoever forgot to make it so."""
    return value if isinstance(value, Markup) else plain(str(value), lines=True)


def _svg(chart: Chart) -> Markup:
    return Markup(draw(chart))  # noqa: S704 - rewritten by an allow-list in svg.py


def _diagram(diagram: Diagram) -> Markup:
    return Markup(draw_diagram(diagram))  # noqa: S704 - rewritten by an allow-list in svg.py


def _graphs(graphs: Graphs) -> Markup:
    return Markup(draw_graphs(graphs))  # noqa: S704 - rewritten by an allow-list in svg.py
