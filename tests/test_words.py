"""The vocabulary: old names, British spellings and unclear phrases stay out of sources and docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = {".css", ".html", ".js", ".md", ".py", ".toml"}
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
FILES = sorted(
    path
    for folder in ("src", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in SUFFIXES and not {"_build", "__pycache__"} & set(path.parts)
) + [path for path in PAGES if path.exists()]

# Names that were replaced: pattern -> the name to use. Every pattern ignores case.
OLD_NAMES = {
    r"\baccumulate *[=:]": "gradient_accumulation_steps",
    r"\bclip_norm\b": "clip_grad_norm",
    r"\w*ClassFigures|ClassificationFigures|RegressionFigures": "...Metrics",
    r"GatheringSource": "IndexedSource",
    r"PendingBatch": "LazyBatch",
    r"\b\w*Recorder\b": "GraphCapture",
    r"\bone_of\(": "check_choice",
    # `integer(` and `number(` cannot be matched: they are words of prose and of JavaScript too.
    r"\bmaking\.|\bmaking:": "factory_kwargs",
    r"\bdef identity\(": "run_fingerprint",
    r"guard\.(?:look|note|read)\b": "check, record, sync",
    r"\brelu=": "fuse_relu=",
    r"\.positions\(|\bdef windows\(|\bwindows? of (?:micro)?batches": "batch_indices, microbatches",
    r"\bboolean\(": "check_bool",
    r"\bsentence\(": "error_message",
    r"\b(?:_plain|to_plain|from_plain)\b": "_serialization, JSONValue, to_dict",
    r"refuse_sharing": "check_no_shared_parameters",
    r"checked_input": "_validate_input",
    r"unset_linear": "uninitialized_linear",
    r"\bsettled?\b": "fill_defaults, required",
    r"adopt_(?:average|best)": "load_averaged_weights, load_best_weights",
    r"keep_own_weights": "stash_weights",
    r"in_words_of_this_torch": "normalize_reprs",
    r"BadStep": "NonFiniteStep",
    r"remember_lr": "set_initial_lr",
    r"\bparted\b": "rebound",
    r"\bstale\b": "num_bad_epochs",
    r"\bdef knows\b|\.knows\(": "supports, can_run",
    r"same_bits": "bit_exact",
    r"\bbeside=": "side_stream=",
    r"\bwithin=": "wrappers=",
    r"\bprepare=": "preprocess=",
    r"_makeup\b|_bypassed\b": "_signature, _skipped_modules",
    r"\b_Together\b": "EnsembleStepper",
    r"EachUpdate|EachAdamW": "PerModelUpdate, PerModelAdamW",
    r"\btry_on\b": "probe",
    r"StackedCalls": "VmapRules",
    r"\bclass Machine\b": "ComputeOptions",
    r"_ROOMS\b|\brooms\b|\ba room\b|\bhouse\b": "_SUBPACKAGES, package, module",
    r"step_graph|StepGraph": "graph_capture",
    r"can_be_recorded|\brecordable\b": "can_be_captured",
}

# Phrases that make a reader stumble: pattern -> what to write.
PHRASES = {
    r"\ba training\b(?! (?:batch|data|epoch|example|fold|function|image|loop|loss|mode|object|part"
    r"|point|program|row|run|sample|script|set|split|step|time))": "a run, a training run",
    r"\btrainings\b|\btraining's\b": "runs, of the run",
    r"\bof (?:its|their|one's|your|his|her|my|our) own\b": "its own, private, custom",
    r"\bone's own\b": "custom",
    r"\banew\b": "again, from the start",
    r"\bwhat leaves\b": "the output of",
    r"\bnobody\b": "nothing, no ...",
    r"\b(?:goes|going|go|went) on (?:from|to|with)\b": "continues, resumes",
    r"\blets\b": "allows, permits",
    r"\bloses nothing\b|\bnothing hangs on\b": "a plain statement",
    r"\bdone (?:right|properly)\b": "a plain statement",
    r"\brecord(?:s|ed|ing)? (?:the|a|each) (?:graph|step)\b": "capture",
    r"\bNaN guard\b": "non-finite check",
    r"\bkill[ -]storms?\b|\bsoaks?\b": "stress test, endurance test",
    r"\bcenterd\b|\bcolord\b": "centered, colored",
}

# British spellings: pattern -> the American one.
_STEMS = (
    "categor|character|custom|discret|equal|factor|final|general|initial|linear|local|material"
    "|maxim|memor|minim|normal|optim|organ|orthogonal|parametr|penal|priorit|quant|random|real"
    "|recogn|regular|serial|special|standard|summar|symmetr|synchron|token|util|vector|visual"
)
BRITISH = {
    rf"(?:{_STEMS})is(?:e|ed|er|ers|es|ing|ation|ations|able)(?![a-z])": "-ize, -ization",
    r"emphasis(?:e|ed|ing)(?![a-z])|analys(?:e|ed|ing)(?![a-z])": "emphasize, analyze",
    r"artefact": "artifact",
    r"behaviour|colour|favour|flavour|honour|neighbour|labour": "-or",
    r"centre|fibre|metres?\b|theatre|calibre": "-er",
    r"\bgreys?\b|grey_|greyscale": "gray",
    r"labell(?:ed|ing)|modell(?:ed|ing)|travell|cancell(?:ed|ing)|signall(?:ed|ing)": "-led, -ling",
    r"\bcatalogue": "catalog",
    r"\blicence|\bdefence|\boffence": "license, defense, offense",
    r"\blearnt\b|\bspelt\b|\bburnt\b": "learned, spelled, burned",
    r"\bwhilst\b|\bamongst\b": "while, among",
    r"\bfulfil\b|\bjudgement|\bprogramme\b|\bsceptic": "fulfill, judgment, program, skeptic",
}

# What cannot be written otherwise, with the reason.
ALLOWED = {
    "aria-labelledby": "an attribute of HTML",
}

WORDS = OLD_NAMES | PHRASES | BRITISH
PATTERN = re.compile("|".join(f"({pattern})" for pattern in WORDS), re.IGNORECASE)
ALLOWED_PATTERN = re.compile("|".join(re.escape(text) for text in ALLOWED))


def words_found(text: str) -> list[str]:
    """Return `line: word -> better` for each word of the list in a text.

    A phrase that is broken over two lines is found, too.
    """
    kept = ALLOWED_PATTERN.sub(lambda match: " " * len(match[0]), text)
    joined = re.sub(r"\n[ #>*]*", lambda match: " " * len(match[0]), kept)
    joined = re.sub(r" {2,}", lambda match: " " + "\0" * (len(match[0]) - 1), joined)
    offsets = [index for index, letter in enumerate(joined) if letter != "\0"]
    found = []
    for match in PATTERN.finditer(joined.replace("\0", "")):
        line = text.count("\n", 0, offsets[match.start()]) + 1
        better = list(WORDS.values())[(match.lastindex or 1) - 1]
        found.append(f"{line}: {match[0]!r} -> {better}")
    return found


def test_words_of_the_list_are_not_used() -> None:
    """No source, page of the documentation, README or changelog has a word of the list."""
    found = [
        f"{path.relative_to(ROOT)}:{word}"
        for path in FILES
        for word in words_found(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_file_names_have_no_word_of_the_list() -> None:
    """The list holds for the paths of the files as well."""
    names = (path.relative_to(ROOT).as_posix() for path in FILES)
    found = {name: words for name in names if (words := words_found(name))}
    assert not found


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("x = 1\nTrainerConfig(clip_norm=1)", 2, "clip_norm"),
        ("It is a training.", 1, "a training"),
        ("It is a training of\n10 epochs.", 1, "a training"),
        ("A step of its\n    own", 1, "of its own"),
        ("An objective of\n# one's own", 1, "of one's own"),
        ("Behaviour", 1, "Behaviour"),
        ("Normalised and initialised.", 1, "Normalised"),
        ("def off_centre() -> None:", 1, "centre"),
    ],
)
def test_the_list_finds_words(text: str, line: int, word: str) -> None:
    """The search can fail: names, phrases over two lines, spellings, with the line they are in."""
    assert words_found(text)[0].startswith(f"{line}: {word!r} ->")


@pytest.mark.parametrize(
    "text",
    [
        "a training run and a training step",
        'aria-labelledby="title"',
        "optimistic, otherwise, precise, raise, noise, realistic",
        "its own process; headroom; a warehouse",
        "gradient_accumulation_steps=2, clip_grad_norm=1.0, num_bad_epochs",
    ],
)
def test_the_list_leaves_the_vocabulary_alone(text: str) -> None:
    """Words that contain a pattern by chance, and the allowed ones, are not found."""
    assert not words_found(text)


def test_each_allowed_text_is_in_use() -> None:
    """An exception that nothing needs any longer is removed."""
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    for allowed in ALLOWED:
        assert PATTERN.search(allowed), allowed
        assert any(allowed in text for text in texts), allowed
