"""Table of figures with their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

Row = tuple[str, list[str], str]
Results = dict[int, dict[str, Any]]  # by size, then by part


def make_table(results: Results) -> str:
    """Return a Markdown table with one column per size, for docs/benchmarks.md."""
    sizes = sorted(results)
    rows = [("", [f"{size:,}" for size in sizes], "aim"), *_rows([results[size] for size in sizes])]
    widths = [max(map(len, (row[0] for row in rows)))]
    widths += [max(len(row[1][place]) for row in rows) for place in range(len(sizes))]
    widths.append(max(len(row[2]) for row in rows))
    lines = [
        "| " + " | ".join(map(str.ljust, [name, *cells, aim], widths)) + " |"
        for name, cells, aim in rows
    ]
    return "\n".join(
        [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
    )


def _rows(results: list[dict[str, Any]]) -> Iterator[Row]:
    def row(name: str, aim: str, part: str, text: Callable[[dict[str, Any]], str]) -> Iterator[Row]:
        if any(part in result for result in results):
            yield name, [text(result[part]) if part in result else "–" for result in results], aim

    yield from row("a bare Django page: CPU, ms", "", "server", lambda r: f"{r['bare']:.2f}")
    yield from row(
        "arithmetic, in times of its fastest",
        "",
        "server",
        lambda r: f"{r['decision']['slowdown']:.2f}",
    )
    yield from row(
        "a page without a query: CPU, ms",
        "",
        "server",
        lambda r: _ms(r["yardstick"]["cpu"], "mean"),
    )
    yield from row(
        "decision: server CPU, ms",
        "≤ 8, the same at every size",
        "server",
        lambda r: _ms(r["decision"]["cpu"], "mean"),
    )
    yield from row("– its fastest tenth", "", "server", lambda r: _ms(r["decision"]["cpu"], "p10"))
    yield from row("– divided by how much slower arithmetic was", "", "server", _on_own_core)
    yield from row("– in bare Django pages", "or ≤ 14", "server", _in_bare_pages)
    yield from row("– queries", "≤ 14", "server", lambda r: str(r["decision"]["queries"]))
    for name in dict.fromkeys(
        name for result in results for name in result.get("server", {}).get("pages", {})
    ):
        aim = "p95 ≤ 50 ms, ≤ 10 queries"
        yield from row(f"page: {name}", aim, "server", partial(_page, name))
    yield from row("slowest deal, p50 ms", "flat", "plans", _slowest_deal)
    yield from row(
        "plans that grow",
        "none",
        "plans",
        lambda r: ", ".join(k for k in r if r[k]["grows"]) or "none",
    )
    yield from row(
        "8 moderators: decisions/s",
        "≥ 110; PostgreSQL ≥ 90",
        "crowd",
        lambda r: f"{r['per_second']:.0f}",
    )
    yield from row(
        "– pages without a query/s", "", "crowd", lambda r: f"{r['yardstick']['per_second']:.0f}"
    )
    yield from row("– answer p50 / p95 / slowest, ms", "slowest ≤ 1000", "crowd", _answer)
    yield from row(
        "– the same at one decision a second each",
        "",
        "crowd",
        lambda r: _answer(r["human"]),
    )
    yield from row(
        "– given to two, decided twice",
        "0, 0",
        "crowd",
        lambda r: f"{r['dealt_twice']}, {r['decided_twice']}",
    )
    yield from row("– faults", "0", "crowd", lambda r: str(len(r["faults"])))
    for name in dict.fromkeys(
        name for result in results for name in result.get("ablation", {}) if name
    ):
        yield from row(f"decision, {name}", "", "ablation", partial(_ablated, name))
    yield from row("CSV: rows/s", "", "export", lambda r: f"{r['export']['per_second']:,}")
    yield from row(
        "– csv.writer over a raw cursor",
        "",
        "export",
        lambda r: f"{r['reference']['per_second']:,}",
    )
    yield from row("– times as long", "≤ 2", "export", _times_as_long)
    yield from row(
        "– first byte, ms", "≤ 100", "export", lambda r: f"{r['export']['first_byte_ms']:.0f}"
    )
    yield from row(
        "– memory beyond the process's own, MiB",
        "≤ 64",
        "export",
        lambda r: f"{r['export']['peak_mib']:.0f}",
    )
    yield from row(
        "trial of a policy: reviews/s",
        "≥ 16,700",
        "trial",
        lambda r: f"{r['trial']['per_second']:,}",
    )
    yield from row("– CPU per review, µs", "≤ 35", "trial", lambda r: f"{r['trial']['cpu_us']:.0f}")
    yield from row("– in times of a bare read", "≤ 5", "trial", _times_bare_read)
    yield from row("polls/s by the client", "", "poll", lambda r: f"{r['client']['per_second']:,}")
    yield from row("– in times of a bare loop", "≥ 0.7", "poll", _times_bare_loop)
    yield from row("polls/s by the job", "", "poll", lambda r: f"{r['job']['per_second']:,}")
    yield from row("– CPU per poll, ms", "", "poll", lambda r: f"{r['job']['cpu_ms']:.2f}")
    yield from row(
        "classified by the local line-up: images/s",
        "≥ 45, or 0.75 of the networks",
        "classify",
        lambda r: f"{r['whole']['per_second']:.0f}, {r['whole']['cpu_ms']:.0f} ms of CPU each",
    )
    yield from row("– in times of the raw networks", "≥ 0.75", "classify", _times_networks)
    yield from row(
        "imported and classified: images/s",
        "≥ 25",
        "ingest",
        lambda r: f"{r['whole']['per_second']:.0f}, {r['whole']['cpu_ms']:.0f} ms of CPU each",
    )
    yield from row("– left unsettled", "0", "ingest", lambda r: str(r["unsettled"]))
    for name in ("tiny", "tiny, next image decoded", "desk"):
        yield from row(
            f"key to next image, {name}: p50 / p95, ms",
            "p95 ≤ 50" if name == "desk" else "",
            "browser",
            partial(_painted, name),
        )
    for name in ("tiny", "tiny, next image decoded"):
        yield from row(f"– desk in times of {name}", "≤ 1.2", "browser", partial(_ratio, name))


def _ms(found: dict[str, float], kind: str) -> str:
    return f"{found[kind]:.1f}" if found[kind] < 100 else f"{found[kind]:.0f}"


def _on_own_core(result: dict[str, Any]) -> str:
    return f"{result['decision']['cpu']['mean'] / result['decision']['slowdown']:.1f}"


def _in_bare_pages(result: dict[str, Any]) -> str:
    return f"{result['decision']['cpu']['mean'] / result['bare']:.1f}"


def _page(name: str, result: dict[str, Any]) -> str:
    found = result["pages"].get(name)
    if found is None:
        return "–"
    return (
        f"{_ms(found['wall'], 'p50')} / {_ms(found['wall'], 'p95')} ms, {found['queries']} queries"
    )


def _slowest_deal(result: dict[str, Any]) -> str:
    key = max(result, key=lambda key: float(result[key]["deal"]["p50"]))
    return f"{_ms(result[key]['deal'], 'p50')} ({key})"


def _answer(result: dict[str, Any]) -> str:
    return (
        f"{_ms(result['answer'], 'p50')} / {_ms(result['answer'], 'p95')} /"
        f" {result['slowest_ms']:.0f}"
    )


def _times_bare_read(result: dict[str, Any]) -> str:
    return f"{result['trial']['cpu_us'] / result['reference']['cpu_us']:.1f}"


def _times_as_long(result: dict[str, Any]) -> str:
    return f"{result['reference']['per_second'] / result['export']['per_second']:.1f}"


def _times_networks(result: dict[str, Any]) -> str:
    return f"{result['whole']['per_second'] / result['raw']['per_second']:.2f}"


def _times_bare_loop(result: dict[str, Any]) -> str:
    return f"{result['client']['per_second'] / result['bare']['per_second']:.2f}"


def _ablated(name: str, result: dict[str, Any]) -> str:
    found = result[name]
    return f"{found['mean_ms']} ms, {found['more_percent']:+} %, {found['queries']} queries"


def _painted(name: str, result: dict[str, Any]) -> str:
    if "skipped" in result:
        return "skipped: no Chromium"
    found = result[name].get("painted") or result[name]["frame"]
    return f"{found['p50']:.1f} / {found['p95']:.1f}"


def _ratio(name: str, result: dict[str, Any]) -> str:
    if "skipped" in result:
        return "–"
    kind = "painted" if all("painted" in result[one] for one in (name, "desk")) else "frame"
    return f"{result['desk'][kind]['p50'] / result[name][kind]['p50']:.2f}"
