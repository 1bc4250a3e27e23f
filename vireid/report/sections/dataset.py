"""A report on a dataset: what it is, its splits, the literature's counts, a contact sheet, distributions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns

from vireid.core.messages import DASH
from vireid.report.dataset import DatasetReport, Tile
from vireid.report.figures.canvas import OKABE_ITO, PAGE, SMALL, light_grid, new_figure, publish, styled
from vireid.report.html import Column, Html, absent, bullets, join, links, paragraph, table, tag
from vireid.report.tables import csv_text, frame_csv

SHADES = {"visible": OKABE_ITO[0], "infrared": OKABE_ITO[1]}
_ORDER = {modality: number for number, modality in enumerate(SHADES)}
COUNTED = ("identities", "visible images", "infrared images")


def render_dataset(report: DatasetReport) -> Html:
    """Title, what the images are, and the fingerprint that tells them from others."""
    facts = report.facts
    kind = f"{facts.title}'s layout, rendered" if facts.synthetic else facts.title
    pieces = [tag("h1", f"Images of {kind}")]
    if facts.synthetic:
        pieces.append(tag("p", tag("strong", facts.note.strip()), class_="notice"))
    else:
        pieces.append(
            paragraph(
                "This page holds pictures of real people: pass it on only as the dataset's terms allow.",
                class_="notice",
            )
        )
    total = f"{len(facts.images):,} images of {facts.images['identity'].nunique():,} identities."
    prints = [
        Html("{0} images: fingerprint {1}.").format(part.capitalize(), tag("code", value))
        for part, value in facts.fingerprints.items()
    ]
    pieces.append(bullets([total, *prints]))
    pieces.append(
        paragraph(
            "A fingerprint is of the contents of all images (BLAKE2b). The record of every fit and evaluation carries "
            "that of its images, and a result is reused for no other.",
            class_="method",
        )
    )
    if facts.settings:
        rows = [[key.replace("_", " "), value] for key, value in facts.settings.items()]
        columns = [Column("Setting", text=True), Column("Value", text=True)]
        pieces.append(table(columns, [("", rows)], "Settings of the renderer.", folded="Show how they were rendered"))
    if facts.missing:
        reasons = [f"{part}: {reason}" for part, reason in facts.missing.items()]
        pieces.append(tag("div", paragraph("Cannot be listed:"), bullets(reasons), class_="warning"))
    return join(pieces)


def render_splits(report: DatasetReport) -> Html:
    """Identities, cameras and images of every part, with the literature's number below where it applies."""
    facts = report.facts
    columns = [Column("Part", text=True), Column("Identities"), Column("Cameras", "visible · infrared"),
               Column("Visible images"), Column("Infrared images"), Column("Images")]  # fmt: skip
    rows, copies = [], []
    for part, images in _parts(facts.images):
        counts = _counts(images)
        known = {} if facts.synthetic else {what: facts.literature.get(f"{part} {what}") for what in COUNTED}
        cells = {what: _beside(counts[what], known.get(what)) for what in COUNTED}
        cameras = " · ".join(str(counts[f"{modality} cameras"] or DASH) for modality in SHADES)
        rows.append(
            [part, cells["identities"], cameras, cells["visible images"], cells["infrared images"], f"{len(images):,}"]
        )
        copies.append(
            {"part": part, **counts, "images": len(images), **{f"literature: {k}": v for k, v in known.items()}}
        )
    if facts.synthetic:
        beside = f"The literature's counts are of the real {facts.title} and do not apply to rendered images."
    else:
        beside = "Small: the literature's count."
    caption = (
        "Identities of the two parts are disjoint; dev identities are training identities that are held out "
        f"while methods are chosen. {beside}{facts.note}"
    )
    return table(columns, [("", rows)], caption, report.copy("tables/splits.csv", csv_text(copies)))


def _parts(images: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    parts = []
    for part, own in images.groupby("part", sort=False):
        parts.append((str(part), own))
        if own["development"].any():
            parts.append(("of these, dev", own[own["development"]]))
    return parts


def _counts(images: pd.DataFrame) -> dict[str, int]:
    counts = {"identities": int(images["identity"].nunique())}
    for modality in SHADES:
        own = images[images["modality"] == modality]
        counts[f"{modality} images"] = len(own)
        counts[f"{modality} cameras"] = int(own.loc[own["camera"] > 0, "camera"].nunique())
    return counts


def _beside(count: int, literature: int | None) -> str:
    if literature is None:
        return f"{count:,}"
    return join(
        [f"{count:,}", tag("small", f"literature {literature:,}", class_=None if count == literature else "bad")], ""
    )


def render_literature(report: DatasetReport) -> Html:
    """Every count that has something to be held against, and what is the matter with files."""
    facts = report.facts
    compared = facts.checks[facts.checks["ok"].notna()]
    pieces = []
    if facts.synthetic:
        names = ", ".join(f"{count:,} {name}" for name, count in facts.literature.items())
        pieces.append(
            paragraph(
                f"The literature counts {names} in {facts.title}. Those are numbers of the real images and do not "
                "apply here; what holds for every dataset of this layout is checked.",
                class_="method",
            )
        )
    if len(compared):
        expectation = Column("Expected" if facts.synthetic else "Literature")
        columns = [Column("Count", text=True), Column("Found"), expectation, Column("Verdict", text=True)]
        if any(compared["note"]):
            columns.append(Column("Note", text=True))
        rows = [
            [name, _number(count), _number(expected), _verdict(ok), note][: len(columns)]
            for name, count, expected, ok, note in compared.itertuples(index=False)
        ]
        copy = report.copy("tables/checks.csv", frame_csv(facts.checks))
        caption = f"As vireid data check compares them; a sample of the images was decoded.{facts.note}"
        pieces.append(table(columns, [("", rows)], caption, copy))
    if facts.findings:
        pieces.append(tag("div", paragraph("About the files:"), bullets(facts.findings), class_="warning"))
    else:
        pieces.append(paragraph("Nothing is the matter with any file that was looked at.", class_="method"))
    return join(pieces)


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else DASH


def _verdict(ok: object) -> str:
    return "as expected" if ok else tag("span", "differs", class_="bad")


def render_contact_sheet(report: DatasetReport) -> Html:
    """A few identities, a row each: visible images left, infrared ones right."""
    tiles = report.facts.sheet
    if not tiles:
        return absent("There is no image to show.")
    columns = _columns(tiles)
    people = list(dict.fromkeys(tile.identity for tile in tiles))
    places = {(identity, *column): index for identity in people for index, column in enumerate(columns)}
    split = sum(column[0] == "visible" for column in columns)
    shapes = np.array([tile.pixels.shape[:2] for tile in tiles])
    aspect = float(np.median(shapes[:, 0] / shapes[:, 1]))
    gap = 0.35 if 0 < split < len(columns) else 0.0
    width = min(0.62, (PAGE - 0.5) / (len(columns) + gap))
    with styled():
        ratios = [1.0] * split + ([gap] if gap else []) + [1.0] * (len(columns) - split)
        figure = new_figure(min(PAGE, width * (len(columns) + gap) + 0.5), (width * aspect + 0.08) * len(people) + 0.4)
        grid = figure.subplots(len(people), len(ratios), squeeze=False, gridspec_kw={"width_ratios": ratios})
        for axes in grid.flat:
            axes.set_axis_off()
        taken: dict[tuple[int, str, int], int] = {}
        for tile in tiles:
            number = taken.get((tile.identity, tile.modality, tile.camera), 0)
            taken[tile.identity, tile.modality, tile.camera] = number + 1
            column = places[tile.identity, tile.modality, tile.camera, number]
            axes = grid[people.index(tile.identity)][column + (1 if gap and column >= split else 0)]
            axes.imshow(tile.pixels, interpolation="none")
        for index, (modality, camera, number) in enumerate(columns):
            axes = grid[0][index + (1 if gap and index >= split else 0)]
            first = index in (0, split)
            lines = [modality if first else "", f"cam {camera}" if camera and number == 0 else ""]
            axes.set_title("\n".join(lines), fontsize=SMALL, loc="left")
        for row, identity in zip(grid, people, strict=True):
            row[0].text(
                -0.12,
                0.5,
                str(identity),
                transform=row[0].transAxes,
                rotation=90,
                ha="right",
                va="center",
                fontsize=SMALL,
            )
        where = report.facts.parts[0]
        caption = (
            f"{len(people)} {where} identities (numbers on the left), drawn among those that the most cameras see: an "
            "image from each camera, visible on the left, infrared on the right; empty: not seen there."
            f"{report.facts.note}"
        )
        return publish(figure, "contact-sheet", caption, report.copies)


def _columns(tiles: Sequence[Tile]) -> list[tuple[str, int, int]]:
    """Modality, camera and which image of the camera, in the order of the sheet."""
    columns: set[tuple[str, int, int]] = set()
    counted: dict[tuple[int, str, int], int] = {}
    for tile in tiles:
        key = (tile.identity, tile.modality, tile.camera)
        columns.add((tile.modality, tile.camera, counted.get(key, 0)))
        counted[key] = counted.get(key, 0) + 1
    return sorted(columns, key=lambda column: (column[0] != "visible", *column[1:]))


def render_distribution(report: DatasetReport) -> Html:
    """How many images there are of an identity, and from a camera, by part and modality."""
    facts = report.facts
    of_person = facts.images.groupby(["part", "modality", "identity"], sort=False).size().rename("images").reset_index()
    of_camera = facts.images.groupby(["part", "modality", "camera"], sort=False).agg(
        images=("identity", "size"), identities=("identity", "nunique")
    ).reset_index()  # fmt: skip
    with styled():
        figure = new_figure(PAGE, 2.1 * len(facts.parts) + 0.5)
        grid = figure.subplots(len(facts.parts), 2, squeeze=False)
        for part, (left, right) in zip(facts.parts, grid, strict=True):
            own = of_person[of_person["part"] == part]
            light_grid(left)
            sns.histplot(
                own, x="images", hue="modality", hue_order=list(SHADES), palette=SHADES, element="step", alpha=0.25,
                discrete=own["images"].max() <= 40, legend=part == facts.parts[0], ax=left,
            )  # fmt: skip
            left.set_xlabel(f"images of a {part} identity")
            left.set_ylabel("identities")
            left.yaxis.get_major_locator().set_params(integer=True)
            if part == facts.parts[0]:
                sns.move_legend(left, "best", title=None)
            cameras = of_camera[of_camera["part"] == part].sort_values(
                ["modality", "camera"], key=lambda column: column.map(_ORDER) if column.name == "modality" else column
            )
            names = cameras["camera"].astype(str).replace("0", "unknown")
            light_grid(right)
            sns.barplot(
                cameras.assign(camera=names), x="camera", y="images", hue="modality", hue_order=list(SHADES),
                palette=SHADES, saturation=1, legend=False, ax=right,
            )  # fmt: skip
            right.set_xlabel(f"camera of {part} images")
            right.set_ylabel("images")
        caption = f"Images of each identity (left) and from each camera (right).{facts.note}"
        drawing = publish(figure, "distribution", caption, report.copies)
    return join([drawing, _spread(report, of_person, of_camera)])


def _spread(report: DatasetReport, of_person: pd.DataFrame, of_camera: pd.DataFrame) -> Html:
    columns = [Column("Part", text=True), Column("Modality", text=True)]
    columns += [Column(name, "images") for name in ("Fewest", "Median", "Most", "Mean")]
    rows = []
    for (part, modality), own in of_person.groupby(["part", "modality"], sort=False):
        images = own["images"]
        rows.append(
            [
                str(part),
                str(modality),
                str(images.min()),
                f"{images.median():g}",
                str(images.max()),
                f"{images.mean():.1f}",
            ]
        )
    copies = [
        report.copy(f"tables/images-per-{what}.csv", frame_csv(counts), f"CSV by {what}")
        for what, counts in (("identity", of_person), ("camera", of_camera))
    ]
    return table(columns, [("", rows)], f"Images of an identity.{report.facts.note}", links(copies))
