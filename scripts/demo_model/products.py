"""The nine products. Each function takes a Grid and gives a Material; everything that varies is drawn from the grid's generator."""
import numpy as np
from scipy.spatial import cKDTree

from scene import F, Material, mix, smoothstep

STEEL, BRASS, ZINC = np.array([.62, .63, .66], F), np.array([.74, .56, .28], F), np.array([.70, .70, .69], F)
COLOURS = {"red": (.62, .06, .05), "blue": (.05, .16, .55), "green": (.05, .36, .12), "yellow": (.80, .58, .05), "white": (.80, .79, .76),
           "black": (.045, .045, .05), "orange": (.78, .27, .04)}


def colour(rng, names):
    name = names[rng.integers(len(names))]
    c = np.array(COLOURS[name], F) * F(rng.uniform(0.85, 1.12)) + rng.normal(0, 0.012, 3).astype(F)
    return name, np.clip(c, 0.01, 0.95).astype(F)


def ground(g):
    """What an object lies on: dark, grey or light, plain matt, with a gradient and a little grain. Gives the picture and its word."""
    levels = [("dark", g.rng.uniform(.012, .05)), ("grey", g.rng.uniform(.13, .24)), ("light", g.rng.uniform(.48, .72))]
    word, level = levels[g.rng.integers(3)]
    tint = 1 + g.rng.normal(0, 0.05, 3).astype(F)
    slope = g.rng.normal(0, 0.10, 2)
    x = level * (1 + slope[0] * g.u + slope[1] * g.v + 0.05 * g.noise(1.2, 2) + 0.03 * g.noise(0.3, 20))
    return (x[..., None] * tint).astype(F), word


def pose(g, low, high, shift=0.10):
    """centre, angle, scale"""
    r = g.rng
    return r.uniform(-shift, shift), r.uniform(-shift, shift), r.uniform(-np.pi, np.pi), r.uniform(low, high)


def edge(g, sd):
    """Coverage of the pixels, from the distance to the outline."""
    px = F(2 / g.n)
    return np.clip(0.5 - sd / px * 0.7, 0, 1).astype(F)


def thing(g, x, y, scale, sd, height, albedo, **more):
    """A Material that lies on a ground."""
    below, word = ground(g)
    m = Material(height.astype(F), albedo.astype(F), edge(g, sd), ground=below, centre=(x, y), extent=scale, **more)
    m.facts["background"] = word
    return m


def hazelnut(g):
    r = g.rng
    x, y, angle, scale = pose(g, 0.60, 0.76)
    a, b = g.local(x, y, angle, scale)              # b runs from the tip (-1) to the base (+1)
    b = b + 0.02 * g.noise(3, 1, 4)
    wide = r.uniform(0.84, 0.98)
    t = np.clip((b + 1) / 2, 0, 1)
    half = wide * np.sqrt(np.clip(1 - b * b, 0, 1)) * (0.90 + 0.22 * t - 0.12 * t ** 3)     # half width at b
    tip = np.exp(-((b + 1.0) / 0.13) ** 2) * 0.10
    rho = np.sqrt((a / (wide * (0.90 + 0.22 * t - 0.12 * t ** 3))) ** 2 + (b / (1 + tip)) ** 2)
    sd = (rho - 1) * scale * 0.85
    height = scale * 0.78 * np.sqrt(np.clip(1 - rho * rho, 0, 1))
    longitude = np.arcsin(np.clip(a / np.maximum(half, 1e-3), -1, 1))
    stripes = sum(np.sin(longitude * k + r.uniform(0, 6.28) + 0.5 * g.noise(3, 1, 5)) / k ** 0.5 for k in (7, 12, 19, 31))
    mottle = g.noise(2.2, 2)
    base = np.array([.36, .165, .062], F) * F(r.uniform(0.75, 1.3)) * (1 + r.normal(0, 0.05, 3)).astype(F)
    pale = np.clip(base * 1.9 + 0.04, 0, 1)
    albedo = mix(base * np.ones((g.n, g.n, 3), F), pale, np.clip(0.22 + 0.13 * stripes + 0.10 * mottle, 0, 1))
    hilum = smoothstep(0.60, 0.70, b + 0.05 * g.noise(2, 2, 12) - 0.10 * a * a)
    rough = g.noise(0.8, 8, 60)
    albedo = mix(albedo, np.array([.50, .33, .17], F) * (1 + 0.16 * rough)[..., None], hilum * 0.85)
    rim = np.exp(-((b - 0.62 - 0.10 * a * a) / 0.03) ** 2)
    albedo = albedo * (1 - 0.30 * rim)[..., None]
    height = height + 0.0016 * stripes + 0.0022 * rough * hilum - 0.006 * hilum
    spec = (1 - hilum) * r.uniform(0.10, 0.28)
    return thing(g, x, y, scale, sd, height, albedo, spec=spec, gloss=r.uniform(14, 36), inside=np.array([.62, .50, .33], F),
                 thickness=scale * 0.6, light_edge=0.45)


def metal_nut(g):
    r = g.rng
    x, y, angle, scale = pose(g, 0.62, 0.80)
    a, b = g.local(x, y, angle, scale)
    rho, phi = np.sqrt(a * a + b * b), np.arctan2(b, a)
    k = np.pi / 3
    hexagon = rho * np.cos((phi + k / 2) % k - k / 2) - 0.86
    hole = r.uniform(0.40, 0.48)
    sd = np.maximum(np.maximum(hexagon, rho - 0.985), hole - rho) * scale
    chamfer = smoothstep(0.80, 0.99, rho)
    bore = smoothstep(hole + 0.075, hole, rho)
    metal, name = [(STEEL, "steel"), (BRASS, "brass"), (ZINC, "zinc")][r.integers(3)]
    brushed = g.noise(0.6, 10, 90, stretch=(0.12, 1.6), angle=angle + r.uniform(0, 3)) if r.random() < 0.5 else \
        np.interp(rho, np.linspace(0, 1.2, 160), r.standard_normal(160)).astype(F)
    height = 0.12 * scale * (1 - 0.8 * chamfer ** 1.5) - 0.10 * scale * bore + 0.0007 * brushed
    height = height - 0.02 * scale * smoothstep(-0.05, 0.0, hexagon)
    thread = np.sin((rho - hole) * 2 * np.pi / 0.026) * bore
    height = height + 0.004 * thread
    albedo = metal * (1 + 0.05 * brushed + 0.05 * g.noise(2, 2))[..., None] * F(r.uniform(0.85, 1.1))
    albedo = albedo * (1 - 0.55 * bore)[..., None]
    m = thing(g, x, y, scale, sd, height, albedo, spec=np.full_like(a, 0.28), gloss=24, metal=0.8, inside=np.array([.16, .15, .14], F),
              thickness=0.22 * scale)
    m.facts["material"] = name
    return m


def bottle_cap(g):
    r = g.rng
    x, y, angle, scale = pose(g, 0.64, 0.80)
    a, b = g.local(x, y, angle, scale)
    rho, phi = np.sqrt(a * a + b * b), np.arctan2(b, a)
    teeth = 21
    wave = np.cos(phi * teeth)
    outline = 0.965 + 0.03 * wave
    sd = (rho - outline) * scale
    skirt = smoothstep(0.76, 0.84, rho)
    height = scale * (0.26 * (1 - skirt) + skirt * (0.26 - 0.9 * np.clip(rho - 0.80, 0, 1)) + 0.032 * wave * smoothstep(0.78, 0.96, rho))
    height = height + scale * 0.015 * smoothstep(0.74, 0.70, rho)
    name, paint = colour(r, ["red", "blue", "green", "yellow", "white", "black"])
    other = np.array(COLOURS["white" if name in ("red", "blue", "green", "black") else ("red", "blue", "green")[r.integers(3)]], F)
    emblem = r.integers(3)
    if emblem == 0:                                  # a star
        k = 2 * np.pi / 5
        w = np.abs((phi + k / 2) % k - k / 2)
        mark = smoothstep(0.02, -0.02, rho - 0.20 / np.maximum(np.cos(w) * 0.40 + np.sin(w) * 1.0, 0.2))
    elif emblem == 1:                                # rings
        mark = smoothstep(0.03, 0.01, np.abs(rho - 0.52)) + smoothstep(0.23, 0.21, rho)
    else:                                            # a band
        mark = smoothstep(0.17, 0.15, np.abs(b)) * smoothstep(0.66, 0.64, rho)
    ring = smoothstep(0.02, 0.008, np.abs(rho - 0.66))
    albedo = mix(paint * np.ones((g.n, g.n, 3), F), other, np.clip(mark + ring * (emblem != 1), 0, 1))
    bare = smoothstep(0.86, 0.93, rho + 0.015 * g.noise(1, 3, 30)) * r.uniform(0.0, 0.5)
    albedo = mix(albedo, STEEL, bare) * (1 + 0.03 * g.noise(1.5, 3))[..., None]
    m = thing(g, x, y, scale, sd, height, albedo, spec=np.full_like(a, r.uniform(0.22, 0.4)), gloss=r.uniform(22, 50),
              metal=0.25 + 0.4 * bare, inside=np.array([.30, .30, .31], F), thickness=0.35 * scale)
    m.facts["colour"] = name
    return m


def capsule(g):
    r = g.rng
    x, y, angle, scale = pose(g, 0.74, 0.88, 0.07)
    a, b = g.local(x, y, angle, scale)
    rad = r.uniform(0.33, 0.39)
    seam = r.uniform(-0.12, 0.12)
    cap = smoothstep(seam - 0.008, seam + 0.008, a)             # the right half is slipped over the left one
    rr = rad * (0.965 + 0.035 * cap)
    d = np.sqrt(np.maximum(np.abs(a) - (1 - rad), 0) ** 2 + b * b)
    sd = (d - rr) * scale
    height = scale * np.sqrt(np.clip(rr * rr - d * d, 0, 1))
    (n1, c1), (n2, c2) = colour(r, HALVES[0]), colour(r, HALVES[1])
    albedo = mix(c1 * np.ones((g.n, g.n, 3), F), c2, cap)
    groove = np.exp(-((a - seam - 0.13) / 0.012) ** 2)
    height = height - 0.006 * groove
    albedo = albedo * (1 - 0.5 * np.exp(-((a - seam) / 0.008) ** 2))[..., None]
    if r.random() < 0.6:                                         # a printed mark of bars on the cap
        for i in range(3):
            bar = smoothstep(0.02, 0.012, np.abs(a - seam - 0.28 - 0.075 * i)) * smoothstep(0.10, 0.09, np.abs(b))
            ink = np.array([.05, .05, .06], F) if c2.mean() > 0.2 else np.array([.75, .75, .75], F)
            albedo = mix(albedo, ink, bar * 0.85)
    albedo = albedo * (1 + 0.02 * g.noise(1.5, 2))[..., None]
    m = thing(g, x, y, scale, sd, height, albedo, spec=np.full_like(a, r.uniform(0.5, 0.8)), gloss=r.uniform(40, 90),
              inside=np.array([.80, .76, .66], F), thickness=rad * scale * 1.3, light_edge=0.3)
    m.extent = scale * 0.62
    m.facts["colour"] = n1 if n1 == n2 else f"{n1} and {n2}"
    return m


def screw(g):
    r = g.rng
    x, y, angle, scale = pose(g, 0.84, 0.95, 0.05)
    a, b = g.local(x, y, angle, scale)                           # the head is at a = -1, the tip at +1
    thick, head, start = r.uniform(0.15, 0.19), r.uniform(0.34, 0.42), r.uniform(-0.45, -0.2)
    pitch = r.uniform(0.095, 0.13)
    taper = 1 - smoothstep(0.55, 1.0, a) * 0.92
    ridge = (0.5 + 0.5 * np.cos(2 * np.pi * (a / pitch - 0.22 * b / thick))) ** 1.4 * smoothstep(start, start + 0.04, a)
    shank = thick * taper * (0.86 + 0.26 * ridge)
    hw = head * (1 - smoothstep(-0.98, -0.70, a) * (1 - thick / head))       # countersunk head
    half = np.where(a < -0.70, hw, shank)
    half = np.where(a < -0.93, hw * np.sqrt(np.clip(1 - ((-0.93 - a) / 0.07) ** 2, 0, 1)), half)
    half = np.where((a < -1) | (a > 1), -1, half)
    sd = np.maximum(np.abs(b) - half, np.maximum(-1 - a, a - 1)) * scale
    height = scale * 0.9 * np.sqrt(np.clip(half * half - b * b, 0, 1))
    metal, name = [(STEEL, "steel"), (BRASS, "brass"), (np.array([.13, .13, .14], F), "black")][r.integers(3)]
    albedo = metal * (1 + 0.05 * g.noise(1.0, 3))[..., None] * (0.72 + 0.34 * ridge + 0.3 * (a < start))[..., None]
    m = thing(g, x, y, scale, sd, height, np.clip(albedo, 0, 1), spec=np.full_like(a, 0.4), gloss=26, metal=0.75,
              inside=np.array([.30, .29, .28], F), thickness=thick * scale)
    m.extent = scale * 0.55
    m.facts["material"] = name
    return m


def surface(g, height, albedo, **more):
    """A Material that fills the picture."""
    return Material(height.astype(F), np.clip(albedo, 0.004, 1).astype(F), np.ones_like(g.u), extent=0.80, **more)


def ceramic_tile(g):
    r = g.rng
    names = {"white": (.74, .73, .70), "grey": (.36, .37, .38), "blue": (.10, .22, .42), "green": (.16, .34, .25),
             "terracotta": (.50, .20, .10), "beige": (.62, .52, .38)}
    name = list(names)[r.integers(len(names))]
    base = np.array(names[name], F) * F(r.uniform(0.85, 1.1))
    cloud = g.noise(2.6, 1)
    vein = np.exp(-(g.noise(2.8, 1, 14) / 0.16) ** 2) * r.uniform(0, 0.28)
    speck = (g.noise(0.8, 10, 45) > r.uniform(1.9, 2.6)) * r.uniform(0.15, 0.5)
    albedo = base * (1 + 0.10 * cloud - vein - speck)[..., None]
    height = 0.0016 * g.noise(2.6, 2, 20)
    angle, period = r.uniform(-0.12, 0.12), r.uniform(1.5, 2.6)
    a, b = g.local(r.uniform(-0.8, 0.8), r.uniform(-0.8, 0.8), angle, 1.0)
    d = np.minimum(np.abs((a / period + 0.5) % 1 - 0.5), np.abs((b / period + 0.5) % 1 - 0.5)) * period
    joint = smoothstep(0.045, 0.030, d)
    height = height - 0.035 * smoothstep(0.085, 0.025, d)
    mortar = np.array([.42, .40, .37], F) * F(r.uniform(0.5, 1.3)) * (1 + 0.12 * g.noise(0.6, 8))[..., None]
    m = surface(g, height, mix(albedo, mortar, joint), spec=(1 - joint) * r.uniform(0.12, 0.3), gloss=r.uniform(30, 80),
                inside=np.array([.55, .36, .24], F) if r.random() < 0.5 else np.array([.30, .27, .25], F))
    m.facts["colour"] = name
    return m


def leather(g):
    r = g.rng
    names = {"brown": (.20, .085, .035), "black": (.04, .038, .038), "tan": (.44, .24, .10), "red": (.34, .04, .035),
             "grey": (.20, .20, .20)}
    name = list(names)[r.integers(len(names))]
    cells = int(r.integers(15, 24))
    n = cells + 4
    points = (np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2) + r.uniform(0.05, 0.95, (n * n, 2)) - 2) / cells * 2 - 1
    bend = 0.05
    where = np.stack([g.u + bend * g.noise(3, 1, 6), g.v + bend * g.noise(3, 1, 6)], -1).reshape(-1, 2)
    d = cKDTree(points).query(where, k=2)[0].astype(F) * cells / 2
    ridge = (d[:, 1] - d[:, 0]).reshape(g.n, g.n)
    pebble = smoothstep(0.0, 0.45, ridge)
    height = (0.42 * pebble + 0.06 * g.noise(1, 10)) / cells * 0.22 + 0.012 * g.noise(3, 1, 4)
    base = np.array(names[name], F) * F(r.uniform(0.85, 1.25))
    albedo = base * ((0.62 + 0.42 * pebble) * (1 + 0.07 * g.noise(2.4, 1)))[..., None]
    m = surface(g, height, albedo, spec=0.16 * pebble * r.uniform(0.5, 1.2), gloss=r.uniform(10, 22),
                inside=np.clip(base * 1.8 + .10, 0, 1))
    m.facts["colour"] = name
    return m


def wood(g):
    r = g.rng
    names = {"oak": (.42, .25, .11), "walnut": (.19, .095, .045), "pine": (.58, .38, .17), "cherry": (.40, .165, .075)}
    name = list(names)[r.integers(len(names))]
    angle = r.uniform(-0.25, 0.25) + (np.pi / 2 if r.random() < 0.5 else 0)
    a, b = g.local(r.uniform(-0.5, 0.5), r.uniform(-0.5, 0.5), angle, 1.0)           # the grain runs along a
    wave = g.noise(3.2, 1, 5, stretch=(3.0, 1.0), angle=angle)
    rings = b * r.uniform(5, 9) + r.uniform(0.5, 1.1) * wave + 0.6 * np.sin(a * r.uniform(0.6, 1.4) + r.uniform(0, 6))
    if r.random() < 0.45:                                                            # a knot
        ka, kb = r.uniform(-0.6, 0.6), r.uniform(-0.5, 0.5)
        k = np.exp(-(((a - ka) / 0.42) ** 2 + ((b - kb) / 0.20) ** 2))
        rings = rings + 3.2 * k
    late = (rings % 1.0)
    late = smoothstep(0.25, 0.95, late) * smoothstep(1.0, 0.95, late)
    fibre = g.noise(0.9, 6, 200, stretch=(14.0, 1.0), angle=angle)
    pores = (g.noise(0.5, 20, 300, stretch=(10.0, 1.0), angle=angle) > 2.0) * 0.25
    base = np.array(names[name], F) * F(r.uniform(0.85, 1.15))
    albedo = base * (1.06 - 0.36 * late + 0.06 * fibre - pores + 0.05 * g.noise(2.5, 1))[..., None]
    height = 0.0008 * fibre - 0.002 * pores
    m = surface(g, height, albedo, spec=np.full_like(a, r.uniform(0.03, 0.12)), gloss=14, inside=np.clip(base * 1.35 + .05, 0, 1))
    m.facts["material"] = name
    return m


def woven_grid(g):
    r = g.rng
    names = {"grey": (.36, .36, .37), "blue": (.10, .17, .34), "beige": (.56, .46, .32), "green": (.14, .26, .15), "white": (.72, .71, .68)}
    name = list(names)[r.integers(len(names))]
    count = r.uniform(9, 13)
    a, b = g.local(r.uniform(-0.2, 0.2), r.uniform(-0.2, 0.2), r.uniform(-0.3, 0.3), 1.0)
    a, b = a + 0.008 * g.noise(3, 1, 6), b + 0.008 * g.noise(3, 1, 6)
    s, t = a * count / 2, b * count / 2
    over = np.where((np.floor(s) + np.floor(t)) % 2 == 0, 1.0, -1.0)
    fill = r.uniform(0.40, 0.455)
    x, y = np.abs(s - np.floor(s) - 0.5), np.abs(t - np.floor(t) - 0.5)             # distance to the middle of the two threads
    tube_v = np.sqrt(np.clip(1 - (x / fill) ** 2, 0, 1))                            # a thread along v, centred in s
    tube_h = np.sqrt(np.clip(1 - (y / fill) ** 2, 0, 1))
    rise_v, rise_h = over * np.cos(np.pi * y), -over * np.cos(np.pi * x)
    hv = np.where(x < fill, tube_v * 0.6 + 0.45 * rise_v, -2)
    hh = np.where(y < fill, tube_h * 0.6 + 0.45 * rise_h, -2)
    top = np.maximum(hv, hh)
    gap = np.clip(smoothstep(-0.9, -1.2, top), 0, 1)
    height = np.maximum(top, -1.0) / count * 0.85
    base = np.array(names[name], F) * F(r.uniform(0.8, 1.15))
    second = base * F(r.uniform(0.75, 1.0))
    twist_v, twist_h = np.sin(2 * np.pi * (t * 3 + s * 2)), np.sin(2 * np.pi * (s * 3 + t * 2))
    body = np.where((hv > hh)[..., None], base * (1 + 0.10 * twist_v)[..., None], second * (1 + 0.10 * twist_h)[..., None])
    shade = np.clip(0.72 + 0.28 * top, 0.4, 1.1)
    albedo = mix(body * shade[..., None], np.array([.02, .02, .022], F), gap) * (1 + 0.05 * g.noise(1.5, 1))[..., None]
    m = surface(g, height, albedo, spec=np.full_like(a, r.uniform(0.02, 0.12)), gloss=12, inside=np.array([.03, .028, .026], F))
    m.facts["colour"] = name
    return m


# the words for what varies, as facts have them
HALVES = ["red", "blue", "green", "yellow", "white", "orange"], ["white", "red", "black", "yellow", "blue"]
LOOKS = {"hazelnut": [], "metal nut": ["steel", "brass", "zinc"], "bottle cap": ["red", "blue", "green", "yellow", "white", "black"],
         "capsule": [a if a == b else f"{a} and {b}" for a in HALVES[0] for b in HALVES[1]], "screw": ["steel", "brass", "black"],
         "ceramic tile": ["white", "grey", "blue", "green", "terracotta", "beige"], "leather": ["brown", "black", "tan", "red", "grey"],
         "wood": ["oak", "walnut", "pine", "cherry"], "woven grid": ["grey", "blue", "beige", "green", "white"]}
PRODUCTS = {"hazelnut": hazelnut, "metal nut": metal_nut, "bottle cap": bottle_cap, "capsule": capsule, "screw": screw,
            "ceramic tile": ceramic_tile, "leather": leather, "wood": wood, "woven grid": woven_grid}
