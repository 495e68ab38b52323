"""What all pictures of the renderer share: coordinates, noise, material, light.

A picture is rendered at twice its size and averaged down. Coordinates u (right) and v (down) run from -1 to 1. A class fills a Material;
a defect changes it; shade() lights it. Defects act on shape and colour before the light does, so a dent bends the reflections and a
crack has walls."""
from dataclasses import dataclass, field

import numpy as np
import scipy.fft
import scipy.ndimage as nd

F = np.float32


def smoothstep(a, b, x):
    t = np.clip((x - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a, b, w):
    """a where w is 0, b where it is 1; colours [3] and pictures [H,W,3] with weights [H,W]."""
    w = w[..., None] if np.ndim(w) == 2 and (np.ndim(a) in (1, 3) or np.ndim(b) in (1, 3)) else w
    return a * (1 - w) + b * w


class Grid:
    """Coordinates of one picture, and noise on them. n pixels a side, rng the picture's own generator."""

    def __init__(self, n, rng):
        self.n, self.rng = n, rng
        c = ((np.arange(n, dtype=F) + F(0.5)) * F(2 / n) - 1).astype(F)
        self.v, self.u = np.meshgrid(c, c, indexing="ij")
        f = scipy.fft.fftfreq(n).astype(F) * n
        self.fy, self.fx = f[:, None], scipy.fft.rfftfreq(n).astype(F)[None, :] * n

    def noise(self, beta=2.0, low=1.0, high=1e9, stretch=(1.0, 1.0), angle=0.0):
        """Gaussian noise of mean 0, deviation 1 with power falling as f^-beta between low and high cycles a picture, stretched along
        the axes of a frame turned by angle."""
        c, s = F(np.cos(angle)), F(np.sin(angle))
        n, wide = self.n, self.n // 2 + 1
        if stretch == (1.0, 1.0) and 3 * high < n // 2:          # nothing above: leave those frequencies out
            wide = int(3 * high) + 1
        rows = np.r_[0:wide, n - wide + 1:n] if wide <= n // 2 else np.arange(n)
        fy, fx = self.fy[rows], self.fx[:, :wide]
        f2 = ((fx * c + fy * s) * F(stretch[0])) ** 2 + ((-fx * s + fy * c) * F(stretch[1])) ** 2
        gain = np.maximum(f2, F(low * low)) ** F(-beta / 4)
        if high < n:
            gain *= np.exp(f2 * F(-1 / high ** 2))
        gain[0, 0] = 0
        white = self.rng.standard_normal((*gain.shape, 2), dtype=F).view(np.complex64)[..., 0] * gain
        spectrum = np.zeros((n, n // 2 + 1), np.complex64)
        spectrum[rows, :wide] = white
        x = scipy.fft.irfft2(spectrum, s=(n, n))
        return x / (np.sqrt(np.mean(x * x)) + F(1e-12))

    def local(self, x, y, angle, scale):
        """Coordinates in the frame of an object at (x, y), turned by angle, scale half a picture large."""
        c, s = F(np.cos(angle)), F(np.sin(angle))
        du, dv = self.u - F(x), self.v - F(y)
        return (c * du + s * dv) / F(scale), (-s * du + c * dv) / F(scale)

    def blur(self, x, radius):
        """radius in half pictures"""
        return nd.gaussian_filter(x, radius * self.n / 2, mode="nearest", truncate=2.5)


@dataclass
class Material:
    """Maps [n,n] of one picture before it is lit. height in half pictures; sd is the signed distance to the outline in half pictures,
    negative inside, None for a surface that fills the picture; metal reflects the surroundings."""
    height: np.ndarray
    albedo: np.ndarray                      # [n,n,3], 0 .. 1, linear
    alpha: np.ndarray                       # 1 where the object is
    spec: np.ndarray                        # strength of the highlight
    gloss: float = 30.0
    metal: np.ndarray | float = 0.0         # 0 .. 1
    inside: np.ndarray = None               # colour [3] below the surface
    ground: np.ndarray = None               # background [n,n,3]
    extent: float = 1.0                     # radius of the object in half pictures
    thickness: float = 0.1                  # height above the ground, for the shadow
    centre: tuple = (0.0, 0.0)
    light_edge: float = 0.0                 # how much darker the rim is
    facts: dict = field(default_factory=dict)


@dataclass
class Light:
    direction: np.ndarray
    colour: np.ndarray
    ambient: float
    phase: float

    @staticmethod
    def draw(rng):
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(38, 62))
        if rng.random() < 0.7:              # mostly from above, as lamps hang
            azimuth = rng.uniform(-np.pi, 0)
        d = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], F)
        warm = rng.uniform(-0.05, 0.05)
        return Light(d, np.array([1 + warm, 1, 1 - warm], F) * F(rng.uniform(0.9, 1.15)), rng.uniform(0.32, 0.5), rng.uniform(0, 6.28))


def normals(height):
    dv, du = np.gradient(height, F(2 / height.shape[0]))
    inv = 1 / np.sqrt(du * du + dv * dv + 1)
    return -du * inv, -dv * inv, inv


def shade(grid, m, light):
    """The lit picture [n,n,3], linear."""
    nx, ny, nz = normals(m.height)
    l = light.direction
    lambert = np.maximum(nx * l[0] + ny * l[1] + nz * l[2], 0)
    h = l + np.array([0, 0, 1], F)
    h /= np.linalg.norm(h)
    shine = np.maximum(nx * h[0] + ny * h[1] + nz * h[2], 0) ** F(m.gloss) * m.spec
    # hollows see less of the sky
    hollow = np.clip((grid.blur(m.height, 0.04) - m.height) * 9, -0.25, 0.6)
    occlusion = 1 - hollow
    if m.light_edge:
        occlusion = occlusion * (1 - m.light_edge * (1 - nz))
    body = m.albedo * ((light.ambient * occlusion + 0.9 * lambert)[..., None] * light.colour)
    if np.max(m.metal) > 0:
        rx, ry, rz = 2 * nz * nx, 2 * nz * ny, 2 * nz * nz - 1
        toward = rx * l[0] + ry * l[1] + rz * l[2]
        room = 0.22 + 0.75 * smoothstep(-0.1, 0.95, toward) + 0.12 * np.sin(5 * ry + 3 * rx + light.phase)
        body = mix(body, m.albedo * (room * occlusion * 1.15)[..., None] * light.colour, m.metal * np.ones_like(nx))
    lit = body + (shine * np.clip(occlusion, 0, 1))[..., None] * light.colour
    if m.ground is None:
        return lit
    # a soft shadow on the ground, away from the light, and a tight one where the object stands
    step = -l[:2] / l[2] * m.thickness * grid.n / 2
    wide = nd.shift(grid.blur(m.alpha, 0.05), (step[1], step[0]), order=1, mode="constant")
    contact = grid.blur(m.alpha, 0.02)
    shadow = (1 - 0.5 * wide) * (1 - 0.35 * contact)
    ground = m.ground * (shadow * (light.ambient + 0.9 * l[2]))[..., None] * light.colour
    return mix(ground, lit, m.alpha)


def finish(grid, linear, rng, size):
    """Camera: slight fall-off, noise, gamma, half the size, 8 bit."""
    fall = 1 - rng.uniform(0.02, 0.14) * (grid.u ** 2 + grid.v ** 2)
    x = linear * fall[..., None]
    k = grid.n // size
    x = x.reshape(size, k, size, k, 3).mean(axis=(1, 3))
    x = np.clip(x, 0, 1) ** F(1 / 2.2)
    x = x + rng.normal(0, rng.uniform(0.001, 0.006), x.shape).astype(F)
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)
