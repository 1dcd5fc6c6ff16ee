"""A report in words: tables to read across the sets, and a plain line for each thing that stands out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .duplicates import Duplicates
from .labels import Spread
from .pixels import PixelStatistics
from .report import Report, SetReport
from .sizes import FAR, LONG, Sizes

MOST = 20  # lines of one kind, where only the first need be read


def in_words(report: Report) -> list[str]:
    """The lines of a report."""
    parts = [
        _labels(report.sets),
        _classes(report),
        _files(report.sets),
        _sizes(report.sets),
        *(_columns(name, own.columns) for name, own in report.sets.items()),
        _pixels(report),
        _duplicates(report),
        _unreadable(report.sets),
    ]
    return [line for part in map(list, parts) if part for line in ["", *part]][1:]


def _labels(sets: Mapping[str, SetReport]) -> Iterator[str]:
    classes = list(dict.fromkeys(each for own in sets.values() if own.labels for each in own.labels.counts))
    rows = []
    for name in classes:
        cells = [_share(own.labels.counts.get(name), own.images) if own.labels else "" for own in sets.values()]
        rows.append([name, *cells])
    rows.append(["images", *(f"{own.images:,}" for own in sets.values())])
    if classes:
        rows.append(["largest / smallest class", *map(_imbalance, sets.values())])
    yield from table([["images of each class" if classes else "", *_headings(sets)], *rows])
    for name, own in sets.items():
        if own.labels is None:
            yield f"{name}: its labels are not counted, for not all are told as class numbers or rows of numbers"
            continue
        if own.labels.values:
            yield from _columns(f"{name}, labels", own.labels.values)
        yield from _named(f"{name}: labels that are no class or no number", own.labels.wrong)


def _headings(sets: Mapping[str, SetReport]) -> list[str]:
    sources = {own.source for own in sets.values()}
    return [name if len(sources) == 1 else f"{name} ({own.source})" for name, own in sets.items()]


def _share(count: int | None, images: int) -> str:
    return "-" if count is None else f"{count:,} {count / images:6.1%}"


def _imbalance(own: SetReport) -> str:
    if own.labels is None or not own.labels.counts:
        return "-"
    return "a class has none" if own.labels.imbalance is None else f"{own.labels.imbalance:.2f}"


def _classes(report: Report) -> Iterator[str]:
    yield from report.classes
    others = [name for name in report.sets if name != "train"]
    if others and not report.classes:
        yield f"classes: the same, in the same order, in train and {', '.join(others)}"


def _files(sets: Mapping[str, SetReport]) -> Iterator[str]:
    rows = [["files", *sets]]
    for kind in ("formats", "modes"):
        for each in dict.fromkeys(key for own in sets.values() for key in getattr(own, kind)):
            rows.append([f"{kind[:-1]} {each}", *(f"{getattr(own, kind).get(each, 0):,}" for own in sets.values())])
    if any(own.turned for own in sets.values()):
        rows.append(["turned upright, as EXIF says", *(f"{own.turned:,}" for own in sets.values())])
    yield from table(rows)


def _sizes(sets: Mapping[str, SetReport]) -> Iterator[str]:
    known = {name: own.sizes for name, own in sets.items() if own.sizes}
    if not known:
        return
    rows = [["width x height", *known]]
    for which in ("smallest", "median", "largest"):
        rows.append([which, *("{} x {}".format(*getattr(sizes, which)) for sizes in known.values())])
    rows.append(["different sizes", *(f"{sizes.different:,}" for sizes in known.values())])
    rows.append(["width / height", *map(_aspect, known.values())])
    yield from table(rows)
    for name, sizes in known.items():
        what = f"{name}: {FAR} times smaller or larger than the median, or longer than 1:{LONG}"
        yield from _named(what, sizes.extreme, MOST)


def _aspect(sizes: Sizes) -> str:
    smallest, median, largest = sizes.aspect
    return f"{median:.2f}" if smallest == largest else f"{smallest:.2f} to {largest:.2f}, median {median:.2f}"


def _columns(name: str, columns: Mapping[str, Spread]) -> Iterator[str]:
    if columns:
        rows = [[name, "mean", "std", "smallest", "largest"]]
        rows += [
            [column, *(f"{value:.6g}" for value in (each.mean, each.std, each.smallest, each.largest))]
            for column, each in columns.items()
        ]
        yield from table(rows)


def _pixels(report: Report) -> Iterator[str]:
    pixels = report.pixels
    if report.no_pixels:
        yield f"mean and std of the pixels: not found, for {report.no_pixels}"
    if pixels is None:
        return
    without = f", without {', '.join(pixels.left_out)}" if pixels.left_out else ""
    yield f"pixels of the {pixels.images:,} images of train as Normalize gets them{without}:"
    mean, std = _figures(pixels.mean), _figures(pixels.std)
    yield f"  mean={mean}"
    yield f"  std={std}"
    yield from _compared(pixels, mean, std)


def _compared(pixels: PixelStatistics, mean: str, std: str) -> Iterator[str]:
    if pixels.in_config is None:
        yield "  the config has no Normalize"
        return
    own_mean, own_std = map(_figures, pixels.in_config)
    if (own_mean, own_std) == (mean, std):
        yield "  so has the config"
    else:
        yield f"  the config has mean={own_mean}, std={own_std}; pretrained weights want those they were trained with"


def _figures(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.4f}" for value in values) + "]"


def _duplicates(report: Report) -> Iterator[str]:
    others = [name for name in report.sets if name != "train"]
    across = [each for each in report.duplicates if len(each.sets) > 1]
    # Within one set, copies with one label do little harm; those with several labels are mistakes.
    harmless = [each for each in report.duplicates if len(each.sets) == 1 and not each.labels_differ]
    confused = [each for each in report.duplicates if len(each.sets) == 1 and each.labels_differ]
    if others:
        yield from _listed(f"duplicates between {' and '.join(report.sets)}", across)
    yield from _listed("duplicates within one set, with different labels", confused)
    yield from _listed("duplicates within one set, with the same label", harmless, MOST)


def _listed(what: str, groups: Sequence[Duplicates], most: int | None = None) -> Iterator[str]:
    yield f"{what}: {len(groups) or 'none'}"
    for group in groups[:most]:
        told = " = ".join(f"{member.set}: {member.name} ({member.label})" for member in group.members)
        yield f"  {told}{'   LABELS DIFFER' if group.labels_differ else ''}"
    yield from _rest(len(groups), most)


def _unreadable(sets: Mapping[str, SetReport]) -> Iterator[str]:
    if not any(own.unreadable for own in sets.values()):
        yield "unreadable: none; every sample was read to its end"
    for name, own in sets.items():
        yield from _named(f"{name}: unreadable", own.unreadable)


def _named(what: str, names: Sequence[str], most: int | None = None) -> Iterator[str]:
    if names:
        yield f"{what}: {len(names):,}"
        yield from (f"  {name}" for name in names[:most])
        yield from _rest(len(names), most)


def _rest(count: int, most: int | None) -> Iterator[str]:
    if most is not None and count > most:
        yield f"  and {count - most:,} more; --json FILE names all"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns, the first to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *figures in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines
