#!/usr/bin/env python3
"""Learns a small byte-pair vocabulary and writes it in the files of CLIP's tokenizer.

    tokenizer.py --out FOLDER

The first 512 symbols are CLIP's bytes, without and with the end of a word, so that any text can be encoded; merges are learned until every
word of the captions and of the list below is one token, so that attention maps belong to words."""
import argparse
import collections
import json
import os
import re

from models import POSITIONS

# what one says about a part that is not as it should be, beyond the words of the captions
WORDS = """a an the of on in at with without and or that is are has have it its this one two three several many some no not to by from near
photo picture image close up closeup view macro top side front back surface background object part product item texture material pattern
left right upper lower center centre middle edge corner rim border inside outside across along around over under between through
small tiny little large big huge long short thin thick wide narrow deep shallow fine coarse faint slight severe strong round oval
straight curved bent jagged rough smooth shiny dull matte dark light bright pale black white grey gray brown red green blue yellow orange
golden silver beige purple pink colour color coloured colored
damaged damage broken cracked crack cracks scratched scratch scratches dented dent dents rusty rust rusted chipped chip chips stained stain
stains hole holes missing piece pieces torn tear cut cuts worn dirty dirt dust burnt burned corroded corrosion bubble bubbles faded
discoloured discolored deformed split splintered peeling fold folded wrinkle wrinkled spot spots mark marks groove gouge pit pitted puncture
punctured contaminated contamination defect defects defective faulty flaw flawed imperfect anomaly anomalous abnormal normal good perfect
flawless intact undamaged clean new old fresh used whole complete incomplete
hazelnut nut metal bottle cap capsule pill tablet screw bolt thread ceramic tile leather wood wooden woven grid mesh cable carpet fabric
toothbrush transistor zipper shell plank grain glaze steel plastic paper glass stone concrete wall table wire weave fibre fiber""".split()


def bytes_to_symbols():
    """GPT-2's printable stand-ins for bytes, in CLIP's order of ids."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {b: chr(b) for b in kept}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(kept))
    return table


def words_of(text):
    return re.findall(r"[^\W\d_]+", text.lower())


def learn(words):
    """Merges until each word is one symbol; the most frequent pair first, as in Sennrich et al. 2016."""
    table = bytes_to_symbols()
    parts = {}
    for word in words:
        s = [table[b] for b in word.encode()]
        parts[word] = s[:-1] + [s[-1] + "</w>"]
    merges = []
    while True:
        pairs = collections.Counter()
        for word, s in parts.items():
            for pair in zip(s, s[1:]):
                pairs[pair] += words[word]
        if not pairs:
            return list(table.values()), merges
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for word, s in parts.items():
            i = 0
            while i + 1 < len(s):
                if (s[i], s[i + 1]) == best:
                    s[i:i + 2] = [s[i] + s[i + 1]]
                i += 1


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--out", required=True)
    a = a.parse_args()
    import render
    captions = render.all_captions()
    words = collections.Counter(w for c in captions for w in words_of(c))
    words.update(WORDS)
    for name in [*render.CLASSES, *render.DEFECTS]:
        words.update(words_of(name))
    symbols, merges = learn(words)
    entries = symbols + [s + "</w>" for s in symbols] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    assert len(set(entries)) == len(entries)
    special = {t: {"content": c, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
               for t, c in (("bos_token", "<|startoftext|>"), ("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>"))}
    special["pad_token"] = "<|endoftext|>"
    files = {"vocab.json": {e: i for i, e in enumerate(entries)}, "special_tokens_map.json": special,
             "tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer", "model_max_length": POSITIONS, "add_prefix_space": False,
                                       "do_lower_case": True, "errors": "replace",
                                       **{k: v if isinstance(v, str) else {"__type": "AddedToken", **v} for k, v in special.items()}}}
    os.makedirs(a.out, exist_ok=True)
    for name, value in files.items():
        with open(os.path.join(a.out, name), "w", encoding="utf-8") as f:
            json.dump(value, f, ensure_ascii=name == "vocab.json", indent=None if name == "vocab.json" else 2)
    with open(os.path.join(a.out, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{x} {y}\n" for x, y in merges))

    from transformers import CLIPTokenizer
    t = CLIPTokenizer.from_pretrained(a.out)
    assert (t.bos_token_id, t.eos_token_id, t.pad_token_id) == (len(entries) - 2, len(entries) - 1, len(entries) - 1)
    for w in words:
        assert len(t(w).input_ids) == 3, (w, t.tokenize(w))
    longest = max(len(t(c).input_ids) for c in captions)
    assert longest <= POSITIONS and t("").input_ids == [t.bos_token_id, t.eos_token_id]
    assert t.eos_token_id not in t("Zürich №5 — any text!").input_ids[1:-1]
    print(f"{a.out}: {len(entries)} entries, {len(merges)} merges, {len(words)} words; the longest of {len(captions)} captions has "
          f"{longest} tokens")


if __name__ == "__main__":
    main()
