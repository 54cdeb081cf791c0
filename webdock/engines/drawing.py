"""Where networks, containers and the lines between them stand in the drawing of the networks' page. Pure."""

from __future__ import annotations

from typing import Any

BOX_WIDTH, BOX_HEIGHT = 164, 28  # CSS pixels, as everything here; two columns are still read on a phone
PITCH = 38  # from one box to the next below
GAP = 84  # between the two columns
PAD = 12  # from a box's edge to its words
EDGE = 1  # so that strokes are not cut
LABEL_CHARS = 22
BOXES_MAX = 60  # of each column; a drawing of more is a carpet

Row = dict[str, Any]


def draw(rows: list[Row]) -> dict[str, Any]:
    """Networks with somebody on them at the left, their containers at the right, in the order of the rows.

    ``rows`` are those of the page: {"name", "subnet", "members": [{"container_id", "name", "state", "ip"}]}.
    ``left_out`` counts the networks and containers there was no room for.
    """
    networks = [row for row in rows if row["members"]]
    containers: dict[str, Row] = {}
    for row in networks:
        for one in row["members"]:
            containers.setdefault(one["container_id"], one)
    shown = dict(list(containers.items())[:BOXES_MAX])
    left_out = max(0, len(networks) - BOXES_MAX) + len(containers) - len(shown)
    networks = networks[:BOXES_MAX]
    right = EDGE + BOX_WIDTH + GAP
    places = {id: EDGE + PITCH * at for at, id in enumerate(shown)}
    boxes = [_box("container", right, places[id], one["name"], one["state"]) for id, one in shown.items()]
    lines: list[Row] = []
    for at, row in enumerate(networks):
        top = EDGE + PITCH * at
        boxes.append(_box("network", EDGE, top, row["name"], "", row["subnet"]))
        for one in row["members"]:
            if one["container_id"] in places:
                lines.append(_line(top, places[one["container_id"]], one["state"]))
    tallest = max(len(networks), len(shown), 1)
    return {
        "boxes": boxes,
        "lines": lines,
        "left_out": left_out,
        "width": right + BOX_WIDTH + EDGE,
        "height": PITCH * (tallest - 1) + BOX_HEIGHT + 2 * EDGE,
        "box_width": BOX_WIDTH,
        "box_height": BOX_HEIGHT,
    }


def _box(kind: str, x: int, y: int, name: str, state: str, more: str = "") -> Row:
    label = name if len(name) <= LABEL_CHARS else name[: LABEL_CHARS - 1] + "…"
    return {
        "kind": kind,
        "x": x,
        "y": y,
        "text_x": x + PAD,
        "text_y": y + BOX_HEIGHT // 2,
        "label": label,
        "title": " ".join(part for part in (name, more or state) if part),
        "state": state,
    }


def _line(network_top: int, container_top: int, state: str) -> Row:
    middle = BOX_HEIGHT // 2
    return {
        "x1": EDGE + BOX_WIDTH,
        "y1": network_top + middle,
        "bend": EDGE + BOX_WIDTH + GAP // 2,
        "x2": EDGE + BOX_WIDTH + GAP,
        "y2": container_top + middle,
        "state": state,
    }
