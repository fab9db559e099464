"""Signed notes, checkpoints and cosignatures against the examples of their specifications, and malformed ones."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import ProofError
from primitives.ids import Hash
from primitives.keys import SigningKey
from primitives.merkle import EMPTY_ROOT
from primitives.notes import (
    COSIGNATURE_TIME_MAX,
    COSIGNATURE_V1,
    ED25519,
    NOTE_BYTES_MAX,
    NOTE_SIGNATURES_MAX,
    Checkpoint,
    Note,
    NoteKey,
    assemble_note,
    cosign,
    cosign_statement,
    cosignature_line,
    is_key_name,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    sign_note,
    signature_line,
    verify_cosignature,
    verify_log_signature,
)

DASH = "\u2014"
# Published examples: C2SP signed-note, and C2SP tlog-cosignature.
EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    f"{DASH} example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
EXAMPLE_CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    f"{DASH} example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    f"{DASH} witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
EXAMPLE_WITH_EMPTY_LINES = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    f"{DASH} quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)

KEY = SigningKey(bytes(range(32)))
OTHER = SigningKey(bytes(range(1, 33)))
LOG = NoteKey("bank.example/log", ED25519, KEY.public)
WITNESS = NoteKey("bank-a.example", COSIGNATURE_V1, OTHER.public)
ROOT = Hash(sha256(b"root").digest())
CHECKPOINT = Checkpoint("bank.example/log", 1234, ROOT)
TIME_S = 1_700_000_000
BASE64_5 = base64.b64encode(bytes(5)).decode()

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="+"), min_size=1)
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n"), max_size=200).map(
    lambda text: text + "\n"
)
HASHES = st.binary(min_size=32, max_size=32).map(Hash)
TIMES = st.integers(0, COSIGNATURE_TIME_MAX)


def signed(text: str, *lines: str) -> Note:
    return parse_note(assemble_note(text, list(lines)))


def test_published_example_verifies_under_its_published_key() -> None:
    key = parse_vkey(EXAMPLE_VKEY)
    assert (key.name, key.type, key.key_id.hex()) == ("example.com/foo", ED25519, "530d903a")
    assert key.vkey() == EXAMPLE_VKEY
    note = parse_note(EXAMPLE_NOTE)
    verify_log_signature(note, key)
    assert note.text == "This is an example message.\n"
    assert assemble_note(note.text, [signature_line(key, note.signatures[0].signature)]) == EXAMPLE_NOTE


def test_published_checkpoint_with_a_cosignature_is_read() -> None:
    note = parse_note(EXAMPLE_CHECKPOINT)
    checkpoint = parse_checkpoint(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == note.text
    log, witness = note.signatures
    assert (log.name, len(log.signature)) == ("example.com/behind-the-sofa", 64)
    assert (witness.name, len(witness.signature)) == ("witness.example.com/w1", 72)
    time_s = int.from_bytes(witness.signature[:8], "big")
    assert time_s == 1679315147
    assert cosign_statement(note.text, time_s).decode() == "cosignature/v1\ntime 1679315147\n" + note.text


def test_text_is_cut_from_the_signatures_at_the_last_empty_line() -> None:
    note = parse_note(EXAMPLE_WITH_EMPTY_LINES)
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert [signature.name for signature in note.signatures] == ["quasimodo.example/salvatore"]


def test_key_id_is_the_hash_of_name_type_and_key() -> None:
    expected = sha256(b"bank-a.example\n\x04" + OTHER.public).digest()[:4]
    assert WITNESS.key_id == expected
    assert NoteKey("bank-a.example", ED25519, OTHER.public).key_id != expected


@given(NAMES, st.sampled_from([ED25519, COSIGNATURE_V1]), st.binary(min_size=32, max_size=32))
def test_verifier_keys_come_back_from_their_strings(name: str, type_: int, public: bytes) -> None:
    key = NoteKey(name, type_, public)
    assert parse_vkey(key.vkey()) == key


@given(TEXTS, NAMES, NAMES, TIMES)
def test_notes_come_back_with_their_signatures(text: str, log_name: str, witness_name: str, time_s: int) -> None:
    note = signed(text, sign_note(text, log_name, KEY), cosign(text, witness_name, OTHER, time_s))
    assert note.text == text
    verify_log_signature(note, NoteKey(log_name, ED25519, KEY.public))
    assert verify_cosignature(note, NoteKey(witness_name, COSIGNATURE_V1, OTHER.public)) == time_s


@given(NAMES, TIMES, HASHES)
def test_checkpoints_come_back_from_their_text(origin: str, size: int, root: Hash) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert parse_checkpoint(checkpoint.text()) == checkpoint


def test_checkpoint_of_an_empty_log_has_size_0() -> None:
    empty = Checkpoint("o", 0, EMPTY_ROOT)
    assert empty.text() == "o\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    assert parse_checkpoint(empty.text()) == empty


def test_cosignature_that_was_made_elsewhere_gives_the_same_line() -> None:
    text = CHECKPOINT.text()
    signature = OTHER.sign(b"cosignature/v1\ntime 1700000000\n" + text.encode())
    assert cosignature_line(WITNESS, TIME_S, signature) == cosign(text, WITNESS.name, OTHER, TIME_S)


GOOD_LINE = f"{DASH} name {BASE64_5}\n"
MALFORMED_NOTES = [
    ("nothing", ""),
    ("newline", "\n"),
    ("empty line alone", "\n\n"),
    ("text without signatures", "text\n"),
    ("no signature after the empty line", "text\n\n"),
    ("no empty line", f"text\n{GOOD_LINE}"),
    ("no text at all", GOOD_LINE),
    ("empty line after the signatures", f"text\n\n{GOOD_LINE}\n"),
    ("empty line between signatures", f"text\n\n{GOOD_LINE}\n{GOOD_LINE}\n"),
    ("no newline at the end", f"text\n\n{GOOD_LINE[:-1]}"),
    ("CRLF", f"text\r\n\r\n{GOOD_LINE}"),
    ("CRLF in the text", f"text\r\n\n{GOOD_LINE}"),
    ("CRLF at the end", f"text\n\n{GOOD_LINE[:-1]}\r\n"),
    ("tab in the text", f"te\txt\n\n{GOOD_LINE}"),
    ("zero byte in the text", f"te\0xt\n\n{GOOD_LINE}"),
    ("escape in the text", f"te\x1bxt\n\n{GOOD_LINE}"),
    ("lone surrogate in the text", f"te\ud800xt\n\n{GOOD_LINE}"),
    ("control character in a name", f"text\n\n{DASH} na\x01me {BASE64_5}\n"),
    ("hyphen for the dash", f"text\n\n- name {BASE64_5}\n"),
    ("en dash", f"text\n\n\u2013 name {BASE64_5}\n"),
    ("two dashes", f"text\n\n{DASH}{DASH} name {BASE64_5}\n"),
    ("no space after the dash", f"text\n\n{DASH}name {BASE64_5}\n"),
    ("two spaces after the dash", f"text\n\n{DASH}  name {BASE64_5}\n"),
    ("no-break space after the dash", f"text\n\n{DASH}\u00a0name {BASE64_5}\n"),
    ("space before the dash", f"text\n\n {DASH} name {BASE64_5}\n"),
    ("two spaces after the name", f"text\n\n{DASH} name  {BASE64_5}\n"),
    ("space at the end", f"text\n\n{DASH} name {BASE64_5} \n"),
    ("empty name", f"text\n\n{DASH}  {BASE64_5}\n"),
    ("plus in a name", f"text\n\n{DASH} na+me {BASE64_5}\n"),
    ("no-break space in a name", f"text\n\n{DASH} na\u00a0me {BASE64_5}\n"),
    ("line separator in a name", f"text\n\n{DASH} na\u2028me {BASE64_5}\n"),
    ("name without a signature", f"text\n\n{DASH} name\n"),
    ("empty signature", f"text\n\n{DASH} name \n"),
    ("key id alone", f"text\n\n{DASH} name {base64.b64encode(bytes(4)).decode()}\n"),
    ("no base64", f"text\n\n{DASH} name !!!!\n"),
    ("base64 for addresses", f"text\n\n{DASH} name __________8=\n"),
    ("base64 without padding", f"text\n\n{DASH} name {BASE64_5.rstrip('=')}\n"),
    ("base64 with too much padding", f"text\n\n{DASH} name {BASE64_5}=\n"),
    ("base64 with spare bits set", f"text\n\n{DASH} name AAAAAAB=\n"),
    ("base64 in two parts", f"text\n\n{DASH} name AAAA=AAA\n"),
    ("base64 with other letters", f"text\n\n{DASH} name ÄAAAAAA=\n"),
    ("base64 in full-width letters", f"text\n\n{DASH} name ＡAAAAAA=\n"),
    ("bad second line", f"text\n\n{GOOD_LINE}{DASH} name\n"),
    ("too many signatures", "text\n\n" + GOOD_LINE * (NOTE_SIGNATURES_MAX + 1)),
    ("too long", "x" * NOTE_BYTES_MAX + f"\n\n{GOOD_LINE}"),
    ("too long in bytes though not in characters", "€" * (NOTE_BYTES_MAX // 2) + f"\n\n{GOOD_LINE}"),
]


@pytest.mark.parametrize("text", [text for _, text in MALFORMED_NOTES], ids=[name for name, _ in MALFORMED_NOTES])
def test_malformed_note_is_refused(text: str) -> None:
    with pytest.raises(ProofError) as caught:
        parse_note(text)
    assert str(caught.value).isprintable()


def test_good_line_of_the_malformed_table_is_good() -> None:
    assert parse_note(f"text\n\n{GOOD_LINE}").text == "text\n"
    assert parse_note(f"\n\n{GOOD_LINE}").text == "\n"
    assert len(parse_note("text\n\n" + GOOD_LINE * NOTE_SIGNATURES_MAX).signatures) == NOTE_SIGNATURES_MAX
    assert parse_note("x" * (NOTE_BYTES_MAX - 30) + f"\n\n{GOOD_LINE}")


@given(st.text(max_size=300))
def test_arbitrary_text_is_a_note_that_comes_back_or_is_refused(text: str) -> None:
    for candidate in (text, f"text\n\n{DASH} {text}\n", f"{text}\n\n{GOOD_LINE}"):
        try:
            note = parse_note(candidate)
        except ProofError:
            continue
        lines = [f"{DASH} {s.name} {base64.b64encode(s.key_id + s.signature).decode()}\n" for s in note.signatures]
        assert assemble_note(note.text, lines) == candidate


ROOT_64 = base64.b64encode(ROOT).decode()
MALFORMED_CHECKPOINTS = [
    ("nothing", ""),
    ("two lines", "origin\n1\n"),
    ("no newline at the end", f"origin\n1\n{ROOT_64}"),
    ("extension line", f"origin\n1\n{ROOT_64}\nextension\n"),
    ("empty line at the end", f"origin\n1\n{ROOT_64}\n\n"),
    ("empty origin", f"\n1\n{ROOT_64}\n"),
    ("control character in the origin", f"ori\x1bgin\n1\n{ROOT_64}\n"),
    ("CRLF", f"origin\r\n1\r\n{ROOT_64}\r\n"),
    ("empty size", f"origin\n\n{ROOT_64}\n"),
    ("leading zero", f"origin\n01\n{ROOT_64}\n"),
    ("two zeros", f"origin\n00\n{ROOT_64}\n"),
    ("plus", f"origin\n+1\n{ROOT_64}\n"),
    ("minus", f"origin\n-1\n{ROOT_64}\n"),
    ("space before the size", f"origin\n 1\n{ROOT_64}\n"),
    ("underscore", f"origin\n1_0\n{ROOT_64}\n"),
    ("hexadecimal", f"origin\n0x1\n{ROOT_64}\n"),
    ("fraction", f"origin\n1.0\n{ROOT_64}\n"),
    ("digits of another script", f"origin\n١\n{ROOT_64}\n"),
    ("size above 63 bits", f"origin\n{2**63}\n{ROOT_64}\n"),
    ("size of a million digits", f"origin\n{'9' * 1_000_000}\n{ROOT_64}\n"),
    ("root of 31 bytes", f"origin\n1\n{base64.b64encode(bytes(31)).decode()}\n"),
    ("root of 33 bytes", f"origin\n1\n{base64.b64encode(bytes(33)).decode()}\n"),
    ("root in hexadecimal", f"origin\n1\n{ROOT.hex()}\n"),
    ("root with a space", f"origin\n1\n{ROOT_64} \n"),
    ("root with spare bits set", f"origin\n1\n{'A' * 42}B=\n"),
    ("no root", "origin\n1\n\n"),
]


@pytest.mark.parametrize(
    "text", [text for _, text in MALFORMED_CHECKPOINTS], ids=[name for name, _ in MALFORMED_CHECKPOINTS]
)
def test_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [("", 1, ROOT), ("a\nb", 1, ROOT), ("a\x00", 1, ROOT), ("\ud800", 1, ROOT), ("o", -1, ROOT), ("o", 2**63, ROOT),
     ("o", 1, ROOT[:31])],
)  # fmt: skip
def test_checkpoint_that_no_note_can_hold_is_never_made(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(ProofError):
        Checkpoint(origin, size, Hash(root))


def vkey(name: str, data: bytes, key_id: bytes | None = None) -> str:
    identifier = sha256(name.encode() + b"\n" + data).digest()[:4] if key_id is None else key_id
    return f"{name}+{identifier.hex()}+{base64.b64encode(data).decode()}"


GOOD_VKEY = vkey("name", b"\x01" + KEY.public)
MALFORMED_VKEYS = [
    ("nothing", ""),
    ("name alone", "name"),
    ("no key", "name+00000000"),
    ("empty key", vkey("name", b"")),
    ("empty name", vkey("", b"\x01" + KEY.public)),
    ("space in the name", vkey("na me", b"\x01" + KEY.public)),
    ("newline in the name", vkey("na\nme", b"\x01" + KEY.public)),
    ("control character in the name", vkey("na\x01me", b"\x01" + KEY.public)),
    ("plus in the name", vkey("na+me", b"\x01" + KEY.public)),
    ("wrong id", vkey("name", b"\x01" + KEY.public, bytes(4))),
    ("id in upper case", GOOD_VKEY.replace(GOOD_VKEY.split("+")[1], GOOD_VKEY.split("+")[1].upper())),
    ("id too short", vkey("name", b"\x01" + KEY.public, bytes(3))),
    ("unknown type", vkey("name", b"\x02" + KEY.public)),
    ("type of ML-DSA", vkey("name", b"\x06" + KEY.public)),
    ("31 bytes", vkey("name", b"\x01" + KEY.public[:31])),
    ("33 bytes", vkey("name", b"\x01" + KEY.public + b"\0")),
    ("no base64", "name+00000000+!!!!"),
    ("space at the end", GOOD_VKEY + " "),
    ("newline at the end", GOOD_VKEY + "\n"),
]


@pytest.mark.parametrize("text", [text for _, text in MALFORMED_VKEYS], ids=[name for name, _ in MALFORMED_VKEYS])
def test_malformed_verifier_key_is_refused(text: str) -> None:
    assert parse_vkey(GOOD_VKEY).public == KEY.public
    with pytest.raises(ProofError):
        parse_vkey(text)


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2003b", "a\u0085b", "a\x1fb", "\ud800"]
)
def test_name_that_would_break_a_signature_line_signs_nothing(name: str) -> None:
    assert not is_key_name(name)
    for sign in (lambda: sign_note("text\n", name, KEY), lambda: cosign("text\n", name, KEY, TIME_S)):
        with pytest.raises(ProofError, match="a key's name"):
            sign()


@pytest.mark.parametrize("text", ["", "text", "te\rxt\n", "te\0xt\n", "te\ud800xt\n"])
def test_text_that_is_no_note_is_not_signed(text: str) -> None:
    with pytest.raises(ProofError):
        sign_note(text, "name", KEY)
    with pytest.raises(ProofError):
        cosign(text, "name", KEY, TIME_S)


@pytest.mark.parametrize("time_s", [-1, COSIGNATURE_TIME_MAX + 1, 2**64])
def test_cosignature_time_out_of_range_is_refused_when_signing(time_s: int) -> None:
    with pytest.raises(ProofError, match="time"):
        cosign(CHECKPOINT.text(), WITNESS.name, OTHER, time_s)


def test_cosignature_time_out_of_range_is_refused_when_verifying_though_its_signature_holds() -> None:
    text, time_s = CHECKPOINT.text(), 2**63
    line = signature_line(WITNESS, time_s.to_bytes(8, "big") + OTHER.sign(cosign_statement(text, time_s)))
    with pytest.raises(ProofError, match="time"):
        verify_cosignature(signed(text, line), WITNESS)


def test_signature_of_another_key_name_type_or_text_is_refused() -> None:
    text = CHECKPOINT.text()
    log_line, witness_line = sign_note(text, LOG.name, KEY), cosign(text, WITNESS.name, OTHER, TIME_S)
    note = signed(text, log_line, witness_line)
    verify_log_signature(note, LOG)
    assert verify_cosignature(note, WITNESS) == TIME_S
    for key in (
        NoteKey(LOG.name, ED25519, OTHER.public),
        NoteKey("another.example", ED25519, KEY.public),
        NoteKey(LOG.name, COSIGNATURE_V1, KEY.public),
        WITNESS,
    ):
        with pytest.raises(ProofError, match="lacks"):
            verify_log_signature(note, key)
    for key in (
        NoteKey(WITNESS.name, COSIGNATURE_V1, KEY.public),
        NoteKey("another.example", COSIGNATURE_V1, OTHER.public),
        NoteKey(WITNESS.name, ED25519, OTHER.public),
        LOG,
    ):
        with pytest.raises(ProofError, match="lacks"):
            verify_cosignature(note, key)
    moved = signed(Checkpoint(CHECKPOINT.origin, 1235, ROOT).text(), log_line, witness_line)
    with pytest.raises(ProofError, match="does not verify"):
        verify_log_signature(moved, LOG)
    with pytest.raises(ProofError, match="does not verify"):
        verify_cosignature(moved, WITNESS)


def test_cosignature_with_its_time_moved_is_refused() -> None:
    text = CHECKPOINT.text()
    signature = OTHER.sign(cosign_statement(text, TIME_S))
    with pytest.raises(ProofError, match="does not verify"):
        verify_cosignature(signed(text, cosignature_line(WITNESS, TIME_S + 1, signature)), WITNESS)


@pytest.mark.parametrize("length", [1, 8, 64, 71, 73, 136])
def test_signature_of_wrong_length_is_refused(length: int) -> None:
    text = CHECKPOINT.text()
    note = signed(text, signature_line(WITNESS, bytes(length)), signature_line(LOG, bytes(length)))
    with pytest.raises(ProofError, match=f"expected 72, got {length}"):
        verify_cosignature(note, WITNESS)
    with pytest.raises(ProofError, match="does not verify"):
        verify_log_signature(note, LOG)


def test_log_signature_does_not_pass_for_a_cosignature_of_the_same_key() -> None:
    text = CHECKPOINT.text()
    both = NoteKey(LOG.name, COSIGNATURE_V1, KEY.public)
    for signature in (KEY.sign(text.encode()), TIME_S.to_bytes(8, "big") + KEY.sign(text.encode())):
        with pytest.raises(ProofError):
            verify_cosignature(signed(text, signature_line(both, signature)), both)


def test_first_line_of_a_key_counts_where_it_stands_twice() -> None:
    text = CHECKPOINT.text()
    early, late = (cosign(text, WITNESS.name, OTHER, TIME_S + step) for step in (0, 60))
    assert verify_cosignature(signed(text, early, late), WITNESS) == TIME_S
    assert verify_cosignature(signed(text, late, early), WITNESS) == TIME_S + 60
    forged = cosignature_line(WITNESS, TIME_S, bytes(64))
    with pytest.raises(ProofError, match="does not verify"):  # a known key's bad line spoils the note, as C2SP advises
        verify_cosignature(signed(text, forged, early), WITNESS)


def test_lines_of_unknown_keys_are_ignored() -> None:
    text = CHECKPOINT.text()
    lines = [
        GOOD_LINE,
        signature_line(NoteKey(WITNESS.name, COSIGNATURE_V1, KEY.public), bytes(72)),  # the name, another id
        f"{DASH} other {base64.b64encode(WITNESS.key_id + bytes(72)).decode()}\n",  # the id, another name
        cosign(text, WITNESS.name, OTHER, TIME_S),
    ]
    assert verify_cosignature(signed(text, *lines), WITNESS) == TIME_S


def test_every_changed_character_of_a_signed_checkpoint_is_refused() -> None:
    text = CHECKPOINT.text()
    whole = assemble_note(text, [cosign(text, WITNESS.name, OTHER, TIME_S)])
    for place, character in enumerate(whole):
        changed = whole[:place] + ("A" if character != "A" else "B") + whole[place + 1 :]
        with pytest.raises(ProofError):
            verify_cosignature(parse_note(changed), WITNESS)
