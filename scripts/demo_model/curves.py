#!/usr/bin/env python3
"""Draws the logs of training: one panel for each value, against the step.

    curves.py OUT/unet.jsonl [MORE.jsonl ...] --to curves.png [--keys loss,held_loss]"""
import argparse
import json
import math

from PIL import Image, ImageDraw

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 200, 70, 20, 20
COLOURS = [(31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14)]


def panel(draw, y, key, curves):
    points = [p for c in curves for p in c]
    x1, low, high = max(p[0] for p in points), min(p[1] for p in points), max(p[1] for p in points)
    # what falls by orders of magnitude is only legible in logarithms
    log = low > 0 and high / low > 5
    f = math.log if log else float
    a, b = f(low), f(high)
    b = b if b > a else a + 1

    def place(p):
        return (LEFT + (WIDTH - LEFT - 10) * p[0] / max(x1, 1), y + HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (f(p[1]) - a) / (b - a))

    draw.rectangle((LEFT, y + TOP, WIDTH - 10, y + HEIGHT - BOTTOM), outline=(180, 180, 180))
    draw.text((LEFT, y + 5), key + (" (log)" if log else ""), fill=0)
    draw.text((5, y + TOP), f"{high:.4g}", fill=0)
    draw.text((5, y + HEIGHT - BOTTOM - 10), f"{low:.4g}", fill=0)
    draw.text((WIDTH - 70, y + HEIGHT - BOTTOM + 4), f"{x1}", fill=0)
    for c, colour in zip(curves, COLOURS * len(curves)):
        if len(c) > 1:
            draw.line([place(p) for p in c], fill=colour, width=2)
        else:
            for p in map(place, c):
                draw.ellipse((p[0] - 2, p[1] - 2, p[0] + 2, p[1] + 2), fill=colour)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("logs", nargs="+")
    a.add_argument("--to", required=True)
    a.add_argument("--keys", help="of the values; all of them without it")
    a = a.parse_args()
    logs = [[json.loads(line) for line in open(path)] for path in a.logs]
    keys = a.keys.split(",") if a.keys else list(dict.fromkeys(
        k for log in logs for line in log for k in line if k not in ("step", "minutes", "lr")))
    panels = {k: [[(l["step"], l[k]) for l in log if k in l and math.isfinite(l[k])] for log in logs] for k in keys}
    panels = {k: c for k, c in panels.items() if any(c)}
    picture = Image.new("RGB", (WIDTH, HEIGHT * max(1, len(panels))), (255, 255, 255))
    for i, (key, curves) in enumerate(panels.items()):
        panel(ImageDraw.Draw(picture), i * HEIGHT, key, [c for c in curves if c])
    picture.save(a.to)


if __name__ == "__main__":
    main()
