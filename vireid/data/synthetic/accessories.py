"""Head, hair, headwear and bags of the figure: the outlines that both modalities share."""

from vireid.data.synthetic.attributes import Person
from vireid.data.synthetic.body import Bone
from vireid.data.synthetic.figure import Figure, Surface, widths


def add_head(figure: Figure, person: Person) -> None:
    """Add neck, skull, jaw, nose, ears and hair."""
    rx, ry, rz = figure.lengths.head
    torso = figure.lengths.torso
    figure.frustum(Bone.TORSO, (torso - 0.03, torso + 0.075), (0.034, 0.034), 0.027, Surface.SKIN, z=0.004)
    figure.ball(Bone.HEAD, (0, 0.08 * ry, 0), (rx, 0.94 * ry, rz), Surface.FACE)
    figure.ball(Bone.HEAD, (0, -0.42 * ry, 0.22 * rz), (0.80 * rx, 0.60 * ry, 0.70 * rz), Surface.FACE)
    figure.ball(Bone.HEAD, (0, -0.08 * ry, 1.0 * rz), (0.16 * rx, 0.24 * ry, 0.18 * rz), Surface.FACE)
    for sign in (1.0, -1.0):
        figure.ball(Bone.HEAD, (sign * rx, -0.02 * ry, -0.05 * rz), (0.12 * rx, 0.22 * ry, 0.18 * rz), Surface.SKIN)
    style = person.hair_style
    if style == "bald":
        return
    if style in ("short", "bun", "ponytail"):
        low = -0.62 if style == "short" else -0.75
        size = (1.07 * rx, 0.98 * ry, 1.02 * rz)
        figure.ball(Bone.HEAD, (0, 0.20 * ry, -0.16 * rz), size, Surface.HAIR, (low, 2.0))
    if style == "bun":
        figure.ball(Bone.HEAD, (0, 0.95 * ry, -0.75 * rz), (0.62 * rx, 0.46 * ry, 0.52 * rz), Surface.HAIR)
    if style == "ponytail":
        figure.ball(Bone.HEAD, (0, 0.35 * ry, -1.25 * rz), (0.42 * rx, 0.40 * ry, 0.42 * rz), Surface.HAIR)
        tail = (0.36 * rx, -2.1 * ry, 0.34 * rz)
        figure.off_axis_frustum(Bone.HEAD, (0, 0.3 * ry, -1.4 * rz), tail, -0.55, Surface.HAIR)
    if style in ("bob", "long"):
        size = (1.30 * rx, 1.10 * ry, 1.16 * rz)
        figure.ball(Bone.HEAD, (0, 0.10 * ry, -0.26 * rz), size, Surface.HAIR, (-0.35, 2.0))
        length = 0.75 if style == "bob" else 2.3
        fall = (1.22 * rx, -length * ry, 0.85 * rz)
        figure.off_axis_frustum(Bone.HEAD, (0, -0.25 * ry, -0.42 * rz), fall, 0.12, Surface.HAIR)
    if style == "long":
        figure.ball(Bone.HEAD, (0, -2.5 * ry, -0.42 * rz), (1.35 * rx, 0.4 * ry, 0.9 * rz), Surface.HAIR)
    if style == "curly":
        size = (1.55 * rx, 1.26 * ry, 1.42 * rz)
        figure.ball(Bone.HEAD, (0, 0.34 * ry, -0.34 * rz), size, Surface.HAIR, (-0.72, 2.0))


def add_headwear(figure: Figure, person: Person) -> None:
    """Add cap, beanie, hat or hood."""
    rx, ry, rz = figure.lengths.head
    grow = 1.28 if person.hair_style == "curly" else 1.0
    if person.headwear == "cap":
        size = (1.16 * grow * rx, 1.10 * ry, 1.16 * grow * rz)
        figure.ball(Bone.HEAD, (0, 0.16 * ry, -0.04 * rz), size, Surface.HEADWEAR, (0.12, 2.0))
        figure.ball(Bone.HEAD, (0, 0.34 * ry, 1.20 * rz), (0.85 * rx, 0.09 * ry, 0.62 * rz), Surface.HEADWEAR)
    elif person.headwear == "beanie":
        size = (1.18 * grow * rx, 1.30 * ry, 1.18 * grow * rz)
        figure.ball(Bone.HEAD, (0, 0.18 * ry, -0.06 * rz), size, Surface.HEADWEAR, (0.06, 2.0))
        band = (1.24 * grow * rx, 0.34 * ry, 1.24 * grow * rz)
        figure.off_axis_frustum(Bone.HEAD, (0, 0.18 * ry, -0.06 * rz), band, -0.03, Surface.HEADWEAR)
    elif person.headwear == "hat":
        crown = (1.18 * grow * rx, 0.95 * ry, 1.18 * grow * rz)
        figure.off_axis_frustum(Bone.HEAD, (0, 0.32 * ry, 0), crown, -0.16, Surface.HEADWEAR)
        figure.ball(Bone.HEAD, (0, 1.2 * ry, 0), (rx * grow, 0.2 * ry, rz * grow), Surface.HEADWEAR)
        figure.ball(Bone.HEAD, (0, 0.34 * ry, 0), (2.15 * rx, 0.10 * ry, 1.95 * rz), Surface.HEADWEAR)
    elif person.headwear == "hood":
        size = (1.36 * rx, 1.28 * ry, 1.32 * rz)
        figure.ball(Bone.HEAD, (0, 0.06 * ry, -0.38 * rz), size, Surface.UPPER)
        figure.ball(Bone.HEAD, (0, -1.0 * ry, -0.30 * rz), (1.4 * rx, 0.5 * ry, 1.2 * rz), Surface.UPPER)


def add_bag(figure: Figure, person: Person) -> None:
    """Add a bag's body and handles; the straps across the trunk are painted on."""
    large = person.bag_size == "large"
    sign = 1.0 if person.left_sided else -1.0
    torso = figure.lengths.torso
    body = widths(person)
    if person.bag == "backpack":
        half, height, deep = (0.098, 0.23, 0.075) if large else (0.072, 0.15, 0.052)
        back = -(body["chest_depth"] + 0.6 * deep + 0.012)
        top = torso - 0.03
        figure.off_axis_frustum(Bone.TORSO, (0, top - height, back), (half, height, deep), -0.12, Surface.BAG)
        figure.ball(Bone.TORSO, (0, top, back), (0.88 * half, 0.035, 0.88 * deep), Surface.BAG)
        figure.ball(Bone.TORSO, (0, top - height, back), (half, 0.03, deep), Surface.BAG)
    elif person.bag == "shoulder bag":
        half, height, deep = (0.040, 0.15, 0.105) if large else (0.030, 0.085, 0.066)
        x = sign * (max(body["hip"], body["waist"]) + 0.6 * half + 0.02)
        low = -0.03 - height
        figure.off_axis_frustum(Bone.TORSO, (x, low, 0.01), (half, height, deep), -0.10, Surface.BAG)
        figure.ball(Bone.TORSO, (x, low, 0.01), (half, 0.02, deep), Surface.BAG)
        figure.ball(Bone.TORSO, (x, low + height, 0.01), (0.9 * half, 0.015, 0.9 * deep), Surface.BAG)
    elif person.bag == "handbag":
        half, height, deep = (0.040, 0.15, 0.095) if large else (0.028, 0.085, 0.060)
        hand = Bone.HAND_LEFT if person.left_sided else Bone.HAND_RIGHT
        figure.off_axis_frustum(hand, (0, 0.10, 0), (half, height, deep), 0.08, Surface.BAG)
        figure.ball(hand, (0, 0.10 + height, 0), (1.05 * half, 0.018, 1.05 * deep), Surface.BAG)
        for side in (1.0, -1.0):
            figure.off_axis_frustum(hand, (0, 0.02, side * 0.35 * deep), (0.006, 0.085, 0.006), 0.0, Surface.BAG)
