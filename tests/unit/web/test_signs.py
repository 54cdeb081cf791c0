"""Signs that hide or turn what stands around them are written out."""

from webdock.engines.signs import written_out


def test_hidden_signs_are_written_out() -> None:
    assert written_out("a\tb\x1b]52;c;x\x07\u202e\u200b\x7fü") == "a\tb␛]52;c;x␇⟨U+202E⟩⟨U+200B⟩␡ü"


def test_bytes_that_are_no_text_are_written_out() -> None:
    assert written_out(b"caf\xe9.txt".decode("utf-8", "surrogateescape")) == "caf⟨E9⟩.txt"
