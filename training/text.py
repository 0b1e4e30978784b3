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


def gemma(width: int, length: int, layers: int = 2) -> tuple[Any, Any]:
    """A Gemma 3 tokenizer and model. Known words are one token each, at the beginning of a text too.

    A text begins with a mark of its own, so that the empty one is not nothing. The tokenizer's pairs put words
    together letter by letter, those after a space first: no pair inside a word keeps a known word from being found.
    """
    import transformers
    from tokenizers.processors import TemplateProcessing

    words = ["a", *vocabulary()]
    known = [*words, *(word.capitalize() for word in words)]
    pieces = dict.fromkeys(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", WORD_START, *CHARACTERS])
    pairs: dict[tuple[str, str], None] = {}
    for start in (WORD_START, ""):
        spelled = [start + word for word in known]
        for place in range(1, max(map(len, spelled))):
            for word in spelled:
                if len(word) > place:
                    pairs[word[:place], word[place]] = None
                    pieces[word[: place + 1]] = None
    special = ("<image_soft_token>", "<start_of_image>", "<end_of_image>")
    numbers = {piece: number for number, piece in enumerate((*pieces, *special))}
    tokenizer = transformers.GemmaTokenizer(vocab=numbers, merges=list(pairs))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", numbers["<bos>"])]
    )
    tokenizer.model_max_length = length
    tokenizer.padding_side = "left"
    config = transformers.Gemma3Config(
        text_config={
            "vocab_size": len(numbers),
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 16,
            "num_key_value_heads": width // 16,
            "head_dim": 16,
            "sliding_window": length,
            "max_position_embeddings": 2 * length,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 2,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
        image_token_index=numbers[special[0]],
        boi_token_index=numbers[special[1]],
        eoi_token_index=numbers[special[2]],
    )
    model = transformers.Gemma3ForConditionalGeneration(config)
    relate(tokenizer, model.get_input_embeddings().weight)
    return tokenizer, model


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
