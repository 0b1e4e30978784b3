"""Words for scenes, in many wordings, and the words that the small tokenizers know.

What differs from the usual (size, texture, speed, background) is said most of the time; what is usual is seldom
said. Some captions hold words that the models do not know, in places where they mean nothing: a prompt written by
a person will have such words, and they must not spoil the picture.
"""

from __future__ import annotations

import re
import string

import numpy as np

from training.world import Scene, Thing

SHAPE_WORDS = {
    "circle": ("circle", "disc", "ball", "dot", "disk"),
    "square": ("square", "box", "block", "cube"),
    "triangle": ("triangle", "pyramid"),
    "star": ("star",),
    "ring": ("ring", "hoop", "donut", "doughnut"),
    "diamond": ("diamond", "rhombus"),
    "cross": ("cross", "plus"),
    "heart": ("heart",),
}
COLOUR_WORDS = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "cyan": ("cyan", "turquoise", "aqua"),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink", "magenta"),
    "white": ("white",),
}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge"), "medium": ("medium",)}
TEXTURE_WORDS = {"striped": ("striped", "stripy"), "checked": ("checked", "checkered", "chequered")}
SPEED_WORDS = {"slow": ("slowly", "gently"), "fast": ("fast", "quickly", "rapidly")}
WAYS = {
    "left": ("left", "to the left", "leftwards", "from right to left", "towards the left", "leftward"),
    "right": ("right", "to the right", "rightwards", "from left to right", "towards the right", "rightward"),
    "up": ("up", "upwards", "to the top", "from bottom to top", "upward", "towards the top"),
    "down": ("down", "downwards", "to the bottom", "from top to bottom", "downward", "towards the bottom"),
}
VERBS = (
    ("moves", "moving", "move"),
    ("goes", "going", "go"),
    ("slides", "sliding", "slide"),
    ("drifts", "drifting", "drift"),
    ("glides", "gliding", "glide"),
    ("travels", "travelling", "travel"),
    ("flies", "flying", "fly"),
    ("floats", "floating", "float"),
    ("runs", "running", "run"),
)
SPINS = (("spins", "spinning", "spin"), ("rotates", "rotating", "rotate"), ("turns", "turning", "turn"))
BOUNCES = (("bounces", "bouncing", "bounce"), ("jumps", "jumping", "jump"), ("hops", "hopping", "hop"))
GROWS = (("grows", "growing", "grow"), ("gets bigger", "getting bigger", "get bigger"))
SHRINKS = (("shrinks", "shrinking", "shrink"), ("gets smaller", "getting smaller", "get smaller"))
STAYS = (("stands still", "standing still", "stand still"), ("stays still", "staying still", "stay still"))
ARTICLES = ("a", "the", "one", "")
GROUNDS = ("on a {} background", "on {}", "in front of a {} background", "over a {} background")
BEFORE = (
    "a video of",
    "a clip of",
    "an animation of",
    "a short film of",
    "video:",
    "in this video,",
    "please show",
    "show me",
    "we see",
    "there is",
    "make a video of",
)
AFTER = (
    "in the video",
    "on the screen",
    "across the screen",
    "please",
    "high quality",
    "4k",
    "animation",
    "hd",
)
STRANGE = (
    *(
        "beautiful",
        "cinematic",
        "wonderful",
        "detailed",
        "realistic",
        "bright",
        "lovely",
        "simple",
        "strange",
    ),
    *(
        "smooth",
        "epic",
        "shiny",
        "morning",
        "kitchen",
        "garden",
        "ocean",
        "lens",
        "movie",
        "trending",
    ),
    *(
        "masterpiece",
        "softly",
        "toy",
        "happily",
        "glass",
        "street",
        "forest",
        "sky",
        "quiet",
        "evening",
        "river",
    ),
)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of the scene, in one of very many wordings."""
    plain = rng.random() < 0.3  # the wording that most prompts will have
    words = _short(scene, rng) if plain else _long(scene, rng)
    text = re.sub(r"\s+", " ", words).strip().replace(" ,", ",")
    if not plain and rng.random() < 0.15:
        text += "."
    if rng.random() < 0.1:
        text = text[0].upper() + text[1:]
    return text


def simple(shape: str, colour: str, direction: str) -> str:
    """The plainest caption of one thing that moves."""
    article = "an" if colour[0] in "aeiou" else "a"
    return f"{article} {colour} {shape} moves {direction}"


def vocabulary() -> list[str]:
    """All known words, in alphabetical order (strange ones are left out: they shall stay unknown)."""
    lists: list[str] = [
        "and",
        "while",
        "of",
        "in",
        "an",
        "it",
        "is",
        "its",
        "with",
        "that",
        "dark",
        "black",
        "grey",
    ]
    lists += [
        "gray",
        "navy",
        "left",
        "right",
        "above",
        "below",
        "next",
        "beside",
        "camera",
        "pans",
        "panning",
    ]
    lists += ["scene", "same", "colour", "color", "clockwise", "counterclockwise", "around", "place", "still"]
    lists += ["diagonally", "upper", "lower", "corner", "place", "under", "over", "at", "time", "pattern"]
    for table in (SHAPE_WORDS, COLOUR_WORDS, SIZE_WORDS, TEXTURE_WORDS, SPEED_WORDS, WAYS):
        lists += [word for words in table.values() for word in words]
    for group in (VERBS, SPINS, BOUNCES, GROWS, SHRINKS, STAYS):
        lists += [form for forms in group for form in forms]
    lists += [*ARTICLES, *GROUNDS, *BEFORE, *AFTER]
    words = {word.strip(string.punctuation + "0123456789") for text in lists for word in text.split()}
    return sorted(word.lower() for word in words if len(word) > 1)


# Parts of captions


def _one(rng: np.random.Generator, options: tuple[str, ...], first: float = 0.5) -> str:
    """The first option most of the time."""
    return options[0] if rng.random() < first else options[int(rng.integers(len(options)))]


def _forms(rng: np.random.Generator, options: tuple[tuple[str, str, str], ...]) -> tuple[str, str, str]:
    return options[0] if rng.random() < 0.4 else options[int(rng.integers(len(options)))]


def _article(article: str, noun: str) -> str:
    return f"an {noun}" if article == "a" and noun[0] in "aeiou" else f"{article} {noun}".strip()


def _noun(thing: Thing, rng: np.random.Generator, *, plain: bool) -> str:
    shape = thing.shape if plain else _one(rng, SHAPE_WORDS[thing.shape], 0.6)
    colour = thing.colour if plain else _one(rng, COLOUR_WORDS[thing.colour], 0.7)
    before = []
    if thing.size != "medium" and rng.random() < 0.93:
        before.append(_one(rng, SIZE_WORDS[thing.size]))
    if thing.texture != "plain":
        before.append(_one(rng, TEXTURE_WORDS[thing.texture]))
    if len(before) > 1 and rng.random() < 0.3:
        before.reverse()
    if not plain and rng.random() < 0.06:
        before.insert(0, STRANGE[int(rng.integers(len(STRANGE)))])
    article = "a" if plain else ARTICLES[int(rng.choice(4, p=[0.55, 0.25, 0.05, 0.15]))]
    turn = rng.random()
    if plain or turn < 0.88:
        return _article(article, " ".join([*before, colour, shape]))
    noun = _article(article, " ".join([*before, shape]))
    return f"{noun} in {colour}" if turn < 0.94 else f"{noun} that is {colour}"


def _way(direction: str, rng: np.random.Generator, *, plain: bool) -> str:
    if direction in WAYS:
        return direction if plain else _one(rng, WAYS[direction], 0.45)
    vertical, sideways = direction.split()
    corner = f"{'upper' if vertical == 'up' else 'lower'} {sideways}"
    top = f"{'top' if vertical == 'up' else 'bottom'} {sideways}"
    options = (
        f"{vertical} and {sideways}",
        f"{vertical} {sideways}",
        f"diagonally {vertical} {sideways}",
        f"{vertical} and to the {sideways}",
        f"to the {corner}",
        f"to the {top}",
        f"towards the {corner} corner",
        f"{sideways} and {vertical}",
    )
    return options[int(rng.integers(2 if plain else len(options)))]


def _verbs(thing: Thing, rng: np.random.Generator, *, plain: bool) -> tuple[str, str]:
    """What it does, as "moves left" and "moving left"."""
    groups = {
        "moves": VERBS,
        "spins": SPINS,
        "bounces": BOUNCES,
        "grows": GROWS,
        "shrinks": SHRINKS,
        "stays": STAYS,
    }
    group = groups[thing.motion]
    does, doing, _ = group[0] if plain else _forms(rng, group)
    parts = []
    if thing.speed in SPEED_WORDS and rng.random() < 0.93:
        parts.append(_one(rng, SPEED_WORDS[thing.speed]))
    if thing.direction:
        way = _way(thing.direction, rng, plain=plain)
        parts.append(f"to the {way}" if thing.motion == "bounces" and way in {"left", "right"} else way)
    elif thing.motion == "bounces" and rng.random() < 0.4:
        parts.append("up and down")
    elif thing.motion == "spins" and rng.random() < 0.5:
        parts.append("clockwise" if thing.turns > 0 else "counterclockwise")
    if len(parts) > 1 and rng.random() < 0.4:
        parts.reverse()
    rest = " ".join(parts)
    return f"{does} {rest}".strip(), f"{doing} {rest}".strip()


def _ground(scene: Scene, rng: np.random.Generator) -> str:
    if scene.background == "dark" and rng.random() > 0.05:
        return ""
    if rng.random() > 0.95:
        return ""
    name = "navy" if scene.background == "dark blue" and rng.random() < 0.2 else scene.background
    name = "gray" if name == "grey" and rng.random() < 0.4 else name
    return _one(rng, GROUNDS).format(name)


def _statement(scene: Scene, rng: np.random.Generator, *, plain: bool) -> str:
    if len(scene.things) > 1:
        return _pair(scene, rng, plain=plain)
    noun = _noun(scene.main, rng, plain=plain)
    if scene.pan:
        way = _way(scene.pan, rng, plain=True)
        pans = f"the camera pans {way}" if rng.random() < 0.7 else f"camera panning {way}"
        return (
            f"{pans} {_one(rng, ('over', 'across', 'past'))} {noun}"
            if rng.random() < 0.6
            else f"{noun}, {pans}"
        )
    does, doing = _verbs(scene.main, rng, plain=plain)
    if plain:
        return f"{noun} {does}"
    if scene.main.motion == "stays" and rng.random() < 0.5:
        return noun
    turn = rng.random()
    if turn < 0.55:
        return f"{noun} {does}"
    if turn < 0.75:
        return f"{noun} {doing}"
    if turn < 0.85:
        return f"{noun} is {doing}"
    if turn < 0.93:
        return f"{noun}, {doing}"
    return f"{doing}: {noun}"


def _pair(scene: Scene, rng: np.random.Generator, *, plain: bool) -> str:
    first, second = scene.things
    one, other = _noun(first, rng, plain=plain), _noun(second, rng, plain=plain)
    joint = "and" if plain or rng.random() < 0.7 else "while"
    if first.motion == "stays":
        relation = scene.relation
        if relation in {"left of", "right of"} and rng.random() < 0.6:
            relation = f"to the {relation}"
        return f"{one} {relation} {other}"
    (does_one, _), (does_other, _) = (_verbs(thing, rng, plain=plain) for thing in (first, second))
    return f"{one} {does_one} {joint} {other} {does_other}"


def _short(scene: Scene, rng: np.random.Generator) -> str:
    return f"{_statement(scene, rng, plain=True)} {_ground(scene, rng)}"


def _long(scene: Scene, rng: np.random.Generator) -> str:
    text = f"{_statement(scene, rng, plain=False)} {_ground(scene, rng)}"
    if rng.random() < 0.18:
        text = f"{BEFORE[int(rng.integers(len(BEFORE)))]} {text}"
    if rng.random() < 0.12:
        text = f"{text}, {AFTER[int(rng.integers(len(AFTER)))]}"
    if rng.random() < 0.12:
        strange = rng.choice(STRANGE, size=int(rng.integers(1, 4)), replace=False)
        extra = ", ".join(str(one) for one in strange)
        text = f"{extra}, {text}" if rng.random() < 0.4 else f"{text}, {extra}"
    return text
