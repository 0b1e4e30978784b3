"""The small text encoders of the real classes, and tokenizers that know the world's words and spell all others."""

from __future__ import annotations

import string
from typing import Any

import torch

from training.captions import COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS, SPEED_WORDS, TEXTURE_WORDS, vocabulary

CHARACTERS = string.ascii_letters + string.digits + string.punctuation
READ = 40  # tokens that training reads of a caption; few are longer
WORD_START = "\u2581"  # the metaspace mark of SentencePiece


def t5(width: int, length: int, layers: int = 2) -> tuple[Any, Any]:
    """A T5 tokenizer and encoder. Words are one token, what is unknown is spelled."""
    import transformers

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -30.0), (WORD_START, -6.0)]
    pieces += [(character, -8.0) for character in CHARACTERS]
    words = ["a", *vocabulary()]
    pieces += [(WORD_START + word, -4.0) for word in (*words, *(word.capitalize() for word in words))]
    tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=0)
    tokenizer.model_max_length = length
    config = transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=16,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=width // 16,
        relative_attention_max_distance=64,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        is_encoder_decoder=False,
        use_cache=False,
        pad_token_id=0,
        eos_token_id=1,
    )
    encoder = transformers.T5EncoderModel(config)
    relate(tokenizer, encoder.get_input_embeddings().weight)
    return tokenizer, encoder


@torch.no_grad()
def relate(tokenizer: Any, embedding: torch.Tensor) -> None:
    """Begin with synonyms, and words with a capital, near each other: a short training need not find that out."""
    known = tokenizer.get_vocab()

    def near(word: str, like: str) -> None:
        if WORD_START + word in known and word != like:
            place, source = known[WORD_START + word], known[WORD_START + like]
            embedding[place] = embedding[source] + 0.3 * embedding[place]

    for table in (COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS, SPEED_WORDS, TEXTURE_WORDS):
        for words in table.values():
            for word in words[1:]:
                near(word, words[0])
    for word in ("left", "right", "up", "down"):
        near(f"{word}wards", word)
        near(f"{word}ward", word)
    for word in ["a", *vocabulary()]:
        near(word.capitalize(), word)


def tokens(tokenizer: Any, captions: list[str | None]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of captions (None is the empty one), filled up with padding, and which of them are no padding."""
    ids = torch.zeros(len(captions), READ, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, caption in enumerate(captions):
        row = tokenizer(caption or "").input_ids[:READ]
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return ids, mask
