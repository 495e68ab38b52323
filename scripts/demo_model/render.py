#!/usr/bin/env python3
"""Pictures of nine products, whole or with one of six defects, each with its exact mask. Seeded: the same picture every time.

    python3 render.py SHEET.png        writes a sheet of examples: a row for each product, whole and with every defect
    python3 render.py FOLDER/          writes the normal photos that are shipped with the demo model

Needs numpy and scipy (and Pillow for the sheet). About 34 ms a picture of 128 pixels on one core."""
import copy
import sys
from dataclasses import dataclass

import numpy as np

from defects import KINDS
from products import LOOKS, PRODUCTS
from scene import Grid, Light, finish, shade

CLASSES, DEFECTS = list(PRODUCTS), list(KINDS)
SURFACES = ("ceramic tile", "leather", "wood", "woven grid")

# Never in training, so that what a model makes of them is unseen: one defect of each product, every defect at least once.
HELD_OUT = frozenset({("hazelnut", "stain"), ("metal nut", "crack"), ("bottle cap", "hole"), ("capsule", "missing piece"),
                      ("screw", "dent"), ("ceramic tile", "dent"), ("leather", "crack"), ("wood", "hole"), ("woven grid", "scratch")})


@dataclass
class Picture:
    image: np.ndarray               # uint8 [H,W,3]
    mask: np.ndarray                # uint8 [H,W], 255 where the defect is
    object: np.ndarray              # uint8 [H,W], 255 where the whole product is
    normal: np.ndarray              # uint8 [H,W,3], the same without its defect
    cls: str
    defect: str | None
    facts: dict                     # words about this picture: background, colour, material


def render(cls, seed, defect=None, size=128):
    """One picture of a product. The same cls, seed and size give the same product and light with every defect."""
    rng = np.random.default_rng([CLASSES.index(cls), seed])
    g = Grid(2 * size, rng)
    m = PRODUCTS[cls](g)
    light = Light.draw(rng)
    camera = rng.integers(1 << 62)
    whole = m.alpha.reshape(size, 2, size, 2).mean(axis=(1, 3)) > 0.5
    normal = finish(g, shade(g, m, light), np.random.default_rng(camera), size)
    if not defect:
        return Picture(normal, np.zeros((size, size), np.uint8), whole.astype(np.uint8) * 255, normal, cls, None, m.facts)
    g.rng = np.random.default_rng([CLASSES.index(cls), seed, 1 + DEFECTS.index(defect)])
    m = copy.copy(m)
    before = m.alpha
    w = KINDS[defect](g, m)
    w = np.maximum(w, before - m.alpha)
    image = finish(g, shade(g, m, light), np.random.default_rng(camera), size)
    mask = w.reshape(size, 2, size, 2).mean(axis=(1, 3)) > 0.5
    return Picture(image, mask.astype(np.uint8) * 255, whole.astype(np.uint8) * 255, normal, cls, defect, m.facts)


# --- captions --------------------------------------------------------------------------------------------------------------------

WITH = {"crack": "with a crack on it", "scratch": "with a scratch on it", "hole": "with a hole in it", "stain": "with a stain on it",
        "dent": "with a dent in it", "missing piece": "with a missing piece"}
ADJECTIVE = {"crack": "cracked", "scratch": "scratched", "hole": "perforated", "stain": "stained", "dent": "dented",
             "missing piece": "broken"}
DETAIL = {"crack": "a long dark jagged crack running across its surface", "scratch": "several thin parallel scratches on its surface",
          "hole": "a round dark hole in its surface", "stain": "a large dirty stain on its surface",
          "dent": "a smooth deep dent pressed into its surface", "missing piece": "a broken edge where a piece is missing"}


def article(words):
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def names(cls, facts):
    """How the product may be called: plain, and with its colour or material."""
    looks = facts.get("colour") or facts.get("material")
    return [cls] + ([f"{looks} {cls}"] if looks else [])


def captions(picture, rng=None):
    """All that may be said of a picture, the plain caption first; with a generator in another order, the plain one still first."""
    bare, *full = names(picture.cls, picture.facts)
    background = picture.facts.get("background")
    where = [""] + ([f" on a {background} background"] if background else [])
    out = []
    for name in [bare, *full]:
        a = article(name)
        if picture.defect is None:
            out += [f"a photo of {a}{w}" for w in where]
        else:
            d = picture.defect
            out += [f"a photo of {a} {WITH[d]}", f"a photo of {a} that is damaged", f"a photo of {a} that is {ADJECTIVE[d]}"]
            out += [f"a photo of {a} with {DETAIL[d]}"]
    if picture.defect is None:
        out += [f"a photo of a flawless {bare}"]
    else:
        out += [f"a photo of a damaged {bare}", f"a photo of {article(ADJECTIVE[picture.defect] + ' ' + bare)}"]
    if rng is not None:
        out[1:] = [out[1 + i] for i in rng.permutation(len(out) - 1)]
    return out


def all_captions():
    """Every caption that a picture can have, each once."""
    kinds = [Picture(None, None, None, None, cls, defect, {"background": b, "colour": look})
             for cls in CLASSES for look in LOOKS[cls] or [None] for defect in [None, *DEFECTS]
             for b in ([None] if cls in SURFACES or defect else ["dark", "grey", "light"])]
    return list(dict.fromkeys(c for p in kinds for c in captions(p)))


# the seeds of models/demo/photos, which are in no data set
PHOTOS = {"hazelnut": 6, "metal nut": 1, "bottle cap": 3, "capsule": 3, "screw": 8, "ceramic tile": 3, "leather": 4, "wood": 4,
          "woven grid": 3}


def main():
    from PIL import Image
    to = sys.argv[1]
    if to.endswith("/"):
        for cls, seed in PHOTOS.items():
            Image.fromarray(render(cls, 300_000_000 + seed).image).save(f"{to}{cls.replace(' ', '_')}.png", optimize=True)
        return
    rows = [[np.pad(render(cls, row * 100 + i * 7, defect).image, ((2, 2), (2, 2), (0, 0)), constant_values=255)
             for i, defect in enumerate([None, *DEFECTS] * 2)] for row, cls in enumerate(CLASSES)]
    Image.fromarray(np.concatenate([np.concatenate(r, 1) for r in rows])).save(to)


if __name__ == "__main__":
    main()
