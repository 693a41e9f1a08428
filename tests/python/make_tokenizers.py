#!/usr/bin/env python3
"""Reference token ids of tokenizer.json files of many kinds, by the `tokenizers` library.

    make_tokenizers.py VOCABULARIES OUT

Writes OUT/NAME/tokenizer.json and OUT/NAME/ids.json: {"texts": [{"text": ..., "ids": [...]}]}.
Vocabularies are trained here on nasty multilingual text, one per pre-tokenizer that coldpress knows
by its form, one SentencePiece-style BPE and unigrams of each form; and taken from
VOCABULARIES/ggml-vocab-*.gguf (llama.cpp's sources) with the pre-tokenizers their models publish.

Left out are texts where llama.cpp is known to go its own way (docs/formats.md): see cut_alike().
"""
import json
import random
import struct
import sys
import unicodedata
from pathlib import Path

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, trainers)
from tokenizers.pre_tokenizers import ByteLevel, Digits, Metaspace, Punctuation, Sequence, Split

CONTROL, USER_DEFINED = 3, 4
PIECES = [
    "The quick brown fox", " jumps over", " the lazy dog.", " It's", " we'LL", "'re", " don't", "I'M",
    " naïve café", " Größe", " straße", " Ångström", "e\u0301", "a\u0308\u0323", "n\u0303o",
    " Привет, мир", " что-то", "γειά σου", " ὀδυσσεύς", "한국어 텍스트", "안녕하세요", "日本語のテキスト",
    "カタカナ", "ひらがな", "中文文本，标点。", "汉字", "𠮷野家", " العربية نص", "שָׁלוֹם", "हिन्दी पाठ", "ไทย",
    "ខ្មែរ", "👍", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "❤️", "☃", "1", "12", "123", "1234567",
    "3.14159", "٣٤٥", "½", "²", "Ⅷ", "①", " ", "  ", "   ", " " * 9, "\n", "\n\n", "\r\n", "\t", "\t\t ",
    " \n ", "\u00a0", "\u3000", "\u2003", "\u200b", "\u200d", "\ufeff", "\u2028", "\u0085", "\u00ad",
    "\x01", "\x1b[0m", "\x7f", "\ufffd", "\u2581", "!", "!!!", "...", "—", "“quoted”", "«»", "¿qué?",
    "(", ")", "[x]", "{y}", "/path/to", "\\n", "a_b", "__init__", "x=y+z;", "->", "==", "#define",
    "<tag>", "&amp;", "$5", "€", "£", "^", "`code`", "~", "|", "@user", "%", "CamelCase", "ABCdef",
    "iPhone12", "ＦＵＬＬｗｉｄｔｈ", "ﬁ", "ǅ", "ʰ", "aͅ", "\U0001d49c", "\u0378", "\uf8ff",
]


def texts(seed, count, longest=14):
    draw = random.Random(seed)
    return ["".join(draw.choice(PIECES) for _ in range(draw.randint(1, longest)))
            for _ in range(count)]


CORPUS = texts(1, 600, 30)
CASES = PIECES + ["", "a"] + texts(2, 250)

WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = SHORT + (r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                  r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = SHORT + (r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
                  r"|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ANY = r"[^\r\n\p{L}\p{N}]?"
GPT4O = (f"{ANY}{UPPER}*{LOWER}+{SHORT}?|{ANY}{UPPER}+{LOWER}*{SHORT}?|" r"\p{N}{1,3}|" + TAIL)
TEKKEN = f"{ANY}{UPPER}*{LOWER}+|{ANY}{UPPER}+{LOWER}*|" r"\p{N}|" + TAIL
DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


DEEPSEEK_LETTERS = (
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-"
    r"Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK"
    r"-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠"
    r"-𑣟𞤀-𞥃]+")
IDEOGRAPHS = "[一-龥ࠀ-一가-퟿]+"


def isolated(regex):
    return Split(Regex(regex), behavior="isolated")


def cut(*regexes):
    return Sequence([isolated(r) for r in regexes] + [ByteLevel(add_prefix_space=False, use_regex=False)])


def words():
    return ByteLevel(add_prefix_space=False, use_regex=True)


# name: (pre-tokenizer, ignore_merges)
BYTE_LEVEL = {
    "gpt-2": (words, False),
    "smollm": (lambda: Sequence([Digits(individual_digits=True), words()]), False),
    "llama-bpe": (lambda: cut(LLAMA3), True),
    "smaug-bpe": (lambda: cut(LLAMA3), False),
    "qwen2": (lambda: cut(QWEN2), False),
    "qwen35": (lambda: cut(QWEN35), False),
    "gpt-4o": (lambda: cut(GPT4O), False),
    "tekken": (lambda: cut(TEKKEN), True),
    "deepseek-v3": (lambda: cut(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3), False),
}


def cut_alike(name, tokenizer, cases):
    """The texts that llama.cpp is not known to cut otherwise than the `tokenizers` library."""
    def has_marks(text):
        return any(unicodedata.category(c).startswith("M") for c in text)

    if name in ("trained-gpt-4o", "trained-tekken"):
        # Its regular expressions for these know no combining marks.
        return [t for t in cases if not has_marks(t)]
    if name == "trained-unigram-plain-whole":
        # Of equally good cuts of a run of spaces, rounding chooses.
        return [t for t in cases if "   " not in t.replace("\u2581", " ")]
    if "Precompiled" not in repr(tokenizer.normalizer):
        return cases
    # SentencePiece, as llama.cpp, rewrites the longest match; `tokenizers` one grapheme at a time
    # if it is short. It also counts U+0085 as a space, and may keep spaces at the end.
    return [t for t in cases if not has_marks(t) and "\x85" not in t
            and not tokenizer.normalizer.normalize_str(t).endswith(" ")]


def finish(out, name, tokenizer, cases=CASES):
    cases = cut_alike(name, tokenizer, cases)
    folder = out / name
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    entries = [{"text": t, "ids": tokenizer.encode(t, add_special_tokens=False).ids} for t in cases]
    (folder / "ids.json").write_text(json.dumps({"texts": entries}))


def train_byte_level(out):
    for name, (make, ignore_merges) in BYTE_LEVEL.items():
        tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
        tokenizer.pre_tokenizer = make()
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=1500, show_progress=False,
                                      special_tokens=["<|endoftext|>"],
                                      initial_alphabet=ByteLevel.alphabet())
        tokenizer.train_from_iterator(CORPUS, trainer)
        finish(out, "trained-" + name, tokenizer, CASES + ["a<|endoftext|>b", "<|endoftext|>"])


def train_sentencepiece(out):
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"),
                                                 normalizers.Replace(" ", "▁")])
    # Trained word by word, as SentencePiece does; merges then apply to the whole text.
    tokenizer.pre_tokenizer = Metaspace(prepend_scheme="never", split=True)
    trainer = trainers.BpeTrainer(vocab_size=1500, show_progress=False, special_tokens=tokens,
                                  limit_alphabet=200)
    tokenizer.train_from_iterator(CORPUS, trainer)
    form = json.loads(tokenizer.to_str())
    form["pre_tokenizer"] = None
    form["added_tokens"] = [t for t in form["added_tokens"] if t["id"] < 3]
    finish(out, "trained-sentencepiece", Tokenizer.from_str(json.dumps(form)))


def unigram_forms(charsmap):
    precompiled = normalizers.Precompiled(charsmap)
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    return {
        "plain": (None, Metaspace(prepend_scheme="never", split=True)),
        "plain-whole": (None, Metaspace(prepend_scheme="never", split=False)),
        "words": (precompiled, Sequence([pre_tokenizers.WhitespaceSplit(),
                                         Metaspace(prepend_scheme="always")])),
        "t5": (normalizers.Sequence([precompiled, normalizers.Strip(left=False, right=True),
                                     normalizers.Replace(Regex(" {2,}"), "▁")]),
               Metaspace(prepend_scheme="always")),
        "xlm-r": (normalizers.Sequence([precompiled, spaces]), Metaspace(prepend_scheme="always")),
    }


def train_unigrams(out, charsmap):
    for name, (normalizer, pre) in unigram_forms(charsmap).items():
        tokenizer = Tokenizer(models.Unigram())
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre
        trainer = trainers.UnigramTrainer(vocab_size=1200, show_progress=False, unk_token="<unk>",
                                          special_tokens=["<pad>", "</s>", "<unk>"])
        tokenizer.train_from_iterator(CORPUS, trainer)
        finish(out, "trained-unigram-" + name, tokenizer)


def published():
    """Pre-tokenizers that the models of some vocabularies publish, and ignore_merges."""
    def deepseek(*regexes):
        return Sequence([isolated(r) for r in regexes] + [
            Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=False)])

    return {
        "falcon": (Sequence([Punctuation(behavior="contiguous"), words(),
                             Digits(individual_digits=False), isolated("[0-9][0-9][0-9]")]), False),
        "deepseek-coder": (deepseek("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", IDEOGRAPHS), False),
        "deepseek-llm": (deepseek("[\r\n]", DEEPSEEK_LETTERS, r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
                                  r"\s+$", IDEOGRAPHS), False),
        "qwen35": (BYTE_LEVEL["qwen35"][0](), False),
        "llama-bpe": (BYTE_LEVEL["llama-bpe"][0](), True),
        "nomic-bert-moe": (None, False),
    }


def read_metadata(path):
    """The metadata of a GGUF file; gguf.GGUFReader takes minutes for large vocabularies."""
    data, at = memoryview(path.read_bytes()), 24
    formats = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
               12: "d"}

    def take(kind):
        nonlocal at
        if kind == 8:
            (size,) = struct.unpack_from("<Q", data, at)
            at += 8 + size
            return bytes(data[at - size:at]).decode("utf-8", "surrogateescape")
        if kind == 9:
            element, count = struct.unpack_from("<IQ", data, at)
            at += 12
            return [take(element) for _ in range(count)]
        (value,) = struct.unpack_from("<" + formats[kind], data, at)
        at += struct.calcsize(formats[kind])
        return value

    fields = {}
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        key = take(8)
        (kind,) = struct.unpack_from("<I", data, at)
        at += 4
        fields[key] = take(kind)
    return fields


def from_vocabulary(out, path, name, pre, ignore_merges):
    fields = read_metadata(path)

    def field(key):
        return fields[f"tokenizer.ggml.{key}"]

    tokens, types = field("tokens"), field("token_type")
    if field("model") == "t5":
        tokenizer = Tokenizer(models.Unigram(list(zip(tokens, field("scores"))),
                                             field("unknown_token_id")))
        charsmap = bytes(b & 255 for b in field("precompiled_charsmap"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = unigram_forms(charsmap)["words"]
    else:
        merges = [tuple(merge.split(" ")) for merge in field("merges")]
        tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges,
                                         ignore_merges=ignore_merges))
        tokenizer.pre_tokenizer = pre
    special = [t for t, kind in zip(tokens, types) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.add_tokens([AddedToken(t, normalized=False)
                          for t, kind in zip(tokens, types) if kind == USER_DEFINED])
    finish(out, "published-" + name, tokenizer)


def main():
    vocabularies, out = Path(sys.argv[1]), Path(sys.argv[2])
    xlm_r = read_metadata(vocabularies / "ggml-vocab-nomic-bert-moe.gguf")
    charsmap = bytes(b & 255 for b in xlm_r["tokenizer.ggml.precompiled_charsmap"])
    train_byte_level(out)
    train_sentencepiece(out)
    train_unigrams(out, charsmap)
    for name, (pre, ignore_merges) in published().items():
        from_vocabulary(out, vocabularies / f"ggml-vocab-{name}.gguf", name, pre, ignore_merges)


if __name__ == "__main__":
    main()
