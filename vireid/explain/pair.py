"""Two runs on the same images: the queries that changed most, with the ranked lists of both."""

import json
from typing import Any

from vireid.core.errors import UserError
from vireid.explain.seen import Seen
from vireid.report.records.explained import changes_by_query, most_changed, pair_file
from vireid.store import unwritable, write_atomically


def write_pair(before: Seen, after: Seen) -> None:
    """Write ``against-<before>.json`` and its pictures beside the run ``after``.

    Which queries changed is decided by AP over all trials; the lists are those of the first trial.

    Raises:
        UserError: the runs rank other images, or under another protocol.
    """
    same = before.index.paths == after.index.paths and (
        before.run.data.evaluation_fingerprint == after.run.data.evaluation_fingerprint
    )
    if not same or before.config != after.config:
        raise UserError(
            f"runs {before.fit.id} and {after.fit.id} were evaluated on other images or under another protocol: "
            "their queries cannot be set against each other; explain each by itself"
        )
    changes = changes_by_query(before.result.per_query, after.result.per_query)
    content: dict[str, Any] = {"protocol": after.result.card}
    try:
        for direction in ("improved", "worsened"):
            table = most_changed(changes, improved=direction == "improved")
            content[direction] = [
                {
                    "query": query,
                    "before": after.ranked(query, f"{direction}{number}-{before.fit.id}", of=before),
                    "after": after.ranked(query, f"{direction}{number}-{after.fit.id}"),
                }
                for number, query in enumerate(table["query"])
            ]
    except OSError as error:
        raise unwritable(after.folder, error) from error
    write_atomically(after.folder / pair_file(before.fit.id), json.dumps(content, indent=1))
