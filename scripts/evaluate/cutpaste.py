"""CutPaste and its variant Scar (Li et al., CVPR 2021, arXiv 2104.04015): a piece of the same picture pasted elsewhere, no model."""
import numpy as np
from PIL import Image, ImageEnhance

JITTER = 0.1


def jitter(piece, rng):
    """Brightness, contrast, saturation and hue, each by up to a tenth."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        piece = enhance(piece).enhance(rng.uniform(1 - JITTER, 1 + JITTER))
    hsv = np.array(piece.convert("HSV"))
    hsv[..., 0] += np.uint8(int(rng.uniform(-JITTER, JITTER) * 255) % 256)
    return Image.fromarray(hsv, "HSV").convert("RGB")


def cut(photo, w, h, rng):
    x, y = rng.integers(photo.width - w + 1), rng.integers(photo.height - h + 1)
    return jitter(photo.crop((x, y, x + w, y + h)), rng)


def paste(photo, piece, alpha, rng):
    x, y = rng.integers(max(photo.width - piece.width, 0) + 1), rng.integers(max(photo.height - piece.height, 0) + 1)
    photo, mask = photo.copy(), Image.new("L", photo.size)
    photo.paste(piece, (x, y), alpha)
    mask.paste(alpha, (x, y))
    return np.array(photo), (np.array(mask) > 63).astype(np.uint8) * 255      # 63: a strip one pixel wide that is turned stays


def cutpaste(pixels, rng):
    """A rectangle of 2 to 15 % of the picture, its aspect 0.3 to 3.3, to any place."""
    photo = Image.fromarray(pixels)
    area = rng.uniform(0.02, 0.15) * photo.width * photo.height
    aspect = np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3)))
    w, h = max(1, min(round(np.sqrt(area * aspect)), photo.width)), max(1, min(round(np.sqrt(area / aspect)), photo.height))
    piece = cut(photo, w, h, rng)
    return paste(photo, piece, Image.new("L", piece.size, 255), rng)


def scar(pixels, rng):
    """A strip of 2-16 x 10-25 pixels of a picture of 256, turned by up to 45 degrees. Here it keeps its share of the picture."""
    photo, scale = Image.fromarray(pixels), max(pixels.shape[:2]) / 256
    w, h = (max(1, round(rng.uniform(*sides) * scale)) for sides in ((2, 16), (10, 25)))
    piece = cut(photo, w, h, rng)
    turn = rng.uniform(-45, 45)
    alpha = Image.new("L", piece.size, 255).rotate(turn, Image.Resampling.BICUBIC, expand=True)
    return paste(photo, piece.rotate(turn, Image.Resampling.BICUBIC, expand=True), alpha, rng)


MAKE = {"cutpaste": cutpaste, "scar": scar}
