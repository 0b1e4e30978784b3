"""The blocklist against people who write around it, against ordinary prompts, and against damaged lists."""

from __future__ import annotations

import unicodedata
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rushes.studio.safety import Blocklist, BlocklistVerdict, TermsError

FOLDER = Path(str(resources.files("rushes.studio.safety") / "terms"))
CATEGORIES = {"csam", "deepfake", "hate", "nsfw", "violence"}
TERMS = [
    (path.stem, line)
    for path in sorted(FOLDER.glob("*.txt"))
    if path.stem in CATEGORIES
    for line in path.read_text().splitlines()
    if line and not line.startswith("#")
]
ALLOWED = ("be heading", "por no")
LEET = {
    "a": "4@",
    "b": "8",
    "e": "3€",
    "g": "9",
    "i": "1!|",
    "l": "1!|£",
    "o": "0",
    "s": "5$",
    "t": "7+",
    "c": "¢",
}
CYRILLIC = dict(zip("aceopxyis", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0455", strict=True))
SEPARATORS = st.text(" .-_*~/\\\n\t·,:;'#", min_size=1, max_size=3)
INVISIBLE = st.text("\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\ufe0f\U000e0061", max_size=2)
BLOCKLIST = Blocklist.load()

terms = st.sampled_from([term for _, term in TERMS])


def around(text: str) -> str:
    return f"a video of {text} at dawn"


def blocked(text: str) -> bool:
    return BLOCKLIST.check(around(text)).blocked


@pytest.mark.parametrize(("category", "term"), TERMS)
def test_every_default_term_blocks_in_its_category(category: str, term: str) -> None:
    verdict = BLOCKLIST.check(around(term))
    assert verdict.blocked
    assert verdict.category == category
    assert verdict.rule_id is not None
    assert verdict.rule_id.startswith(f"{category}-")


def test_every_category_has_a_list() -> None:
    assert {category for category, _ in TERMS} == CATEGORIES


ORDINARY = [
    "",
    " ",
    "!!! ??? 123",
    "A golden retriever runs through shallow water at sunrise, slow motion, 35mm film",
    "Aerial view of Scunthorpe, Penistone, Essex, Sussex and Middlesex in autumn",
    "An assassin's cloak in a classic class of classical assessment",
    "A therapist peels a grape while the cockatoo and the peacock watch the cocktail shaker",
    "The pen is mightier than the sword, written on parchment",
    "We will be heading home across the bridge",
    "Naked mole rats in their burrow; the naked eye sees the comet",
    "Nude lipstick swatches, matte, studio light",
    "A chef in Dickson's kitchen shuts the oven and shitake mushrooms steam",
    "Time-lapse of 455 cars, 1080p, 24 fps, f/1.8, ISO 800, $455 budget",
    "His wife's ex-colleague waves from the S-Bahn",
    "The race warms up as the cars leave the grid",
    "A child plays with porcelain dolls",
    "Children in a school yard, shooting hoops",
    "Undressed salad on a table; he faces waterfalls",
    "No vamos por no tener tiempo, dice el abuelo",
    "Ein Mädchen läuft über die Brücke, im Hintergrund der Fernsehturm",
    "東京の夜、雨の中を歩く猫",
    "Девочка кормит голубей на площади",
    "ماء يجري بين الصخور",
    "🐶🏖️ dog on a beach 🌅",
    "Mass of starlings shooting across a violet sky",
    "A blow-dryer, a job fair, an oral history of jazz",
    "Masturbo",
    "h e l l o  w o r l d",
]


@pytest.mark.parametrize("prompt", ORDINARY)
def test_ordinary_prompts_pass(prompt: str) -> None:
    assert BLOCKLIST.check(prompt) == BlocklistVerdict(blocked=False, category=None, rule_id=None)


@settings(deadline=None)
@given(term=terms.filter(lambda t: " " not in t), data=st.data())
def test_a_term_inside_a_longer_word_is_another_word(term: str, data: st.DataObject) -> None:
    before, after = data.draw(st.sampled_from([("qu", ""), ("", "qu"), ("x", "q")]))
    assert not blocked(before + term + after)


@settings(deadline=None)
@given(term=terms, data=st.data())
def test_case_does_not_help(term: str, data: st.DataObject) -> None:
    text = "".join(data.draw(st.sampled_from([c, c.upper()])) for c in term)
    assert blocked(text)


@settings(deadline=None)
@given(term=terms, data=st.data())
def test_invisible_characters_do_not_help(term: str, data: st.DataObject) -> None:
    assert blocked("".join(c + data.draw(INVISIBLE) for c in term))


@settings(deadline=None)
@given(term=terms, data=st.data())
def test_spelling_out_does_not_help(term: str, data: st.DataObject) -> None:
    separator = data.draw(SEPARATORS)
    assert blocked(separator.join(term))


@settings(deadline=None)
@given(term=terms, data=st.data())
def test_spaces_anywhere_do_not_help(term: str, data: st.DataObject) -> None:
    text = "".join(c + data.draw(st.just("") | SEPARATORS) for c in term)
    assume(not any(phrase in " ".join(text.split()) for phrase in ALLOWED))
    assert blocked(text)


def disguised(term: str, data: st.DataObject) -> str:
    """Some letters as digits or symbols; a word keeps one letter, since 455 is a number."""
    found = []
    for word in term.split():
        kept = data.draw(st.integers(0, len(word) - 1))
        found.append(
            "".join(
                c if i == kept else data.draw(st.sampled_from([c, *LEET.get(c, "")]))
                for i, c in enumerate(word)
            )
        )
    return " ".join(found)


@settings(deadline=None)
@given(term=terms, data=st.data())
def test_leetspeak_does_not_help(term: str, data: st.DataObject) -> None:
    assert blocked(disguised(term, data))


@settings(deadline=None)
@given(term=terms, data=st.data())
def test_digits_before_punctuation_do_not_help(term: str, data: st.DataObject) -> None:
    digits = {c: "".join(d for d in LEET.get(c, "") if d.isdigit()) for c in term}
    kept = data.draw(st.integers(0, len(term) - 1))
    text = "".join(c if i == kept or not digits[c] else digits[c][0] for i, c in enumerate(term))
    assume(not any(word.isdigit() and len(word) > 1 for word in text.split()))
    assert blocked(text + data.draw(st.sampled_from(["!", "!!!", "?", "...", '"', "'s", " | 4k", "$"])))


@settings(deadline=None)
@given(term=terms, data=st.data())
def test_lookalikes_accents_and_fancy_letters_do_not_help(term: str, data: st.DataObject) -> None:
    def choices(c: str) -> list[str]:
        if c == " ":
            return [c]
        fancy = [chr(ord(c) + 0xFEE0), chr(0x1D4EA + ord(c) - 97), chr(0x1F170 + ord(c) - 97)]
        return [c, CYRILLIC.get(c, c), unicodedata.normalize("NFC", c + "\u0301"), c + "\u0336", *fancy]

    assert blocked("".join(data.draw(st.sampled_from(choices(c))) for c in term))


@settings(deadline=None)
@given(term=terms, data=st.data())
def test_all_at_once_does_not_help(term: str, data: st.DataObject) -> None:
    text = "".join(
        data.draw(st.sampled_from([c, c.upper(), CYRILLIC.get(c, c)])) + data.draw(INVISIBLE)
        for c in disguised(term, data)
    )
    assert blocked(text)


@settings(deadline=None)
@given(prompt=st.text(max_size=200))
def test_any_text_is_judged_and_never_shown(prompt: str) -> None:
    verdict = BLOCKLIST.check(prompt)
    assert verdict == BLOCKLIST.check(prompt)
    assert (verdict.category is None) == (verdict.rule_id is None) == (not verdict.blocked)


@settings(deadline=None)
@given(
    secret=st.text("ghjkqvwxyz", min_size=6, max_size=12), term=terms.filter(lambda t: t not in CATEGORIES)
)
def test_the_verdict_shows_neither_prompt_nor_term(secret: str, term: str) -> None:
    verdict = BLOCKLIST.check(f"{secret} {term} {secret}")
    assert verdict.blocked
    assert secret not in repr(verdict)
    assert term not in repr(verdict)


def test_lone_surrogates_are_text_too() -> None:
    assert not BLOCKLIST.check("a \ud800 cat").blocked
    assert BLOCKLIST.check("a \ud800 porn").blocked


def test_the_gravest_category_is_named() -> None:
    assert BLOCKLIST.check("porn, a beheading, a deepfake").category == "violence"
    assert BLOCKLIST.check("hentai and a beheading of child porn").category == "csam"


def test_rule_ids_stay_the_same_from_one_version_to_the_next() -> None:
    assert BLOCKLIST.check("porn").rule_id == "nsfw-ac16f461b8"
    assert BLOCKLIST.check("P 0 R N").rule_id == "nsfw-ac16f461b8"


def test_an_allowed_phrase_excuses_only_itself() -> None:
    assert not blocked("we will be  heading home")
    assert blocked("a beheading, and they will be heading home")
    assert blocked("po\x00rn")  # no character makes a prompt look as if something were excused


def lists(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / f"{name}.txt").write_bytes(data)
    return folder


def test_an_operators_lists_are_added(tmp_path: Path) -> None:
    blocklist = Blocklist.load(lists(tmp_path, nsfw="moon dance\n", brand="\ufeff# ours\nAcme Cola\n"))
    assert blocklist.check("a m00n d4nce").category == "nsfw"
    assert blocklist.check("a can of ACME  COLA").category == "brand"
    assert blocklist.check("porn").blocked


def test_an_operators_lists_replace_ours(tmp_path: Path) -> None:
    blocklist = Blocklist.load(lists(tmp_path, nsfw="moon dance"), replace=True)
    assert blocklist.check("moon dance").blocked
    assert not blocklist.check("porn").blocked


def test_the_operator_decides_the_category(tmp_path: Path) -> None:
    assert Blocklist.load(lists(tmp_path, adult="porn")).check("porn").category == "adult"


def test_the_operator_allows(tmp_path: Path) -> None:
    blocklist = Blocklist.load(lists(tmp_path, nsfw="naked", allow="naked eye\nstark, naked"))
    assert blocklist.check("naked").blocked
    assert blocklist.check("a naked eyelid").blocked
    assert not blocklist.check("seen with the naked  eye").blocked


def test_short_terms_must_be_spelled_letter_by_letter(tmp_path: Path) -> None:
    blocklist = Blocklist.load(lists(tmp_path, nsfw="sex"), replace=True)
    for prompt in ("sex", "s e x", "S.E.X", "s-3-x", "$ex", "s\u200bex"):
        assert blocklist.check(prompt).blocked, prompt
    for prompt in ("his wife's ex", "Essex", "se x", "sexton", "60s ex-dancer"):
        assert not blocklist.check(prompt).blocked, prompt


def test_only_a_one_may_be_either_letter(tmp_path: Path) -> None:
    blocklist = Blocklist.load(lists(tmp_path, nsfw="bail\n1488\nacl"), replace=True)
    assert blocklist.check("ba1l").blocked
    assert blocklist.check("bai1").blocked
    assert blocklist.check("b@|!").blocked
    assert blocklist.check("1488").blocked
    for prompt in ("ball", "laid", "14880", "aci"):
        assert not blocklist.check(prompt).blocked, prompt


def test_scripts_without_spaces_have_terms_too(tmp_path: Path) -> None:
    blocklist = Blocklist.load(lists(tmp_path, nsfw="禁止\nщит\nप्रतिबंध"), replace=True)
    assert blocklist.check("これは禁止です").blocked
    assert blocklist.check("禁 止").blocked
    assert not blocklist.check("禁煙中止").blocked
    assert blocklist.check("красный ЩИТ").blocked
    assert not blocklist.check("щитки").blocked
    assert blocklist.check("यह प्रतिबंध है").blocked


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"nsfw": ""}, r"nsfw\.txt has no terms"),
        ({"nsfw": "# only\n\n  \n"}, r"nsfw\.txt has no terms"),
        ({"nsfw": b"fine\nbr\xffken\n"}, r"nsfw\.txt, line 2: byte 3 is not UTF-8"),
        (
            {"nsfw": "one thing\nother\n\nONE  thing\n"},
            r"nsfw\.txt, line 4: .* in .*nsfw\.txt, line 1 already",
        ),
        ({"hate": "same", "nsfw": "same"}, r"nsfw\.txt, line 1: .* in .*hate\.txt, line 1 already"),
        ({"nsfw": "word\n...\n"}, r"nsfw\.txt, line 2: a term needs at least two letters"),
        ({"nsfw": "word\nx\n"}, r"nsfw\.txt, line 2: a term needs at least two letters"),
        ({"Not Safe": "word"}, r"Not Safe\.txt must be named <category>\.txt"),
        ({"allow": "word"}, r"has no <category>\.txt with terms"),
        ({}, r"has no <category>\.txt with terms"),
    ],
)
def test_damaged_lists_are_refused(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(TermsError, match=message) as caught:
        Blocklist.load(lists(tmp_path, **files))
    assert str(tmp_path) in str(caught.value)
    assert "one thing" not in str(caught.value).lower()


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(TermsError, match=r"nowhere can't be read: No such file"):
        Blocklist.load(tmp_path / "nowhere")
