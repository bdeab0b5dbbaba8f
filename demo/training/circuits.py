"""First weights with which the model can copy and choose before it has learnt anything.

To copy what stands in the prompt takes an *induction* circuit (Olsson et al. 2022, arXiv 2209.11895): find where the
last tokens occurred before and repeat what followed. To choose a tool or its next parameter, find the declaration that
shares words with what was just said. Training finds such circuits late, and with little compute never. So they are
built in:

    embedding   each token has a random code; variants of a word (capital, leading blank) differ in a few dimensions
    layer 0     by rotary position alone: heads 0 and 1 note the codes one and two tokens back, heads 2 and 3 the mean
                code of the words near (about 8 tokens) and around (about 30)
    layer 1, 3  head 0 looks for a position whose two tokens before are the last two here
    layer 2, 3  heads 1 and 2 look for a position whose near words are like those near, or around, here, preferring
                those after the mark that TRIGGERS gives for the present token
                each notes the code of the token found there as the answer
    head        the noted code, compared with all codes, gives the logits

Everything else starts so that it writes nothing (feed-forward and the other heads' outputs are zero). All is trained.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from demo.training.model import Attention, DemoModel, FeedForward, Layer, Mixture
from demo.training.shape import ROPE_THETA, Layout

CODE = 2.0  # size of a code's entries
CONSTANT = 6.0
NOISE = 0.2  # of the other dimensions of an embedding
FLAGS = 4  # code dimensions for each flag
BAG_GAIN = 2.5  # a mean of several codes is this much smaller than one
WORD_SCORE = 4.0  # words count in a mean by exp(2 * this) more than marks

# Head -> distance it looks back, and the attention score that each rotary pair gives to just that distance. Fast pairs
# make a narrow window, slow ones keep it from repeating.
WINDOWS: tuple[tuple[float, Mapping[int, float]], ...] = (
    (1, {0: 18.0, 1: 14.0, 2: 10.0, 3: 6.0, 4: 4.0}),
    (2, {0: 18.0, 1: 14.0, 2: 10.0, 3: 6.0, 4: 4.0}),
    (4, {3: 8.0, 5: 6.0, 7: 6.0, 8: 4.0}),
    (18, {5: 8.0, 7: 8.0, 8: 5.0}),
)
MATCH_SCORES = (11.0, 7.0)  # score of a match of the last token, and of the one before it
BAG_SCORES = (6.0, 20.0)  # for words near and around: score of two equal means
TRIGGER_SCORES = (12.0, 30.0)
COPY_LOGIT = 9.0
COPY_LAYERS = {1: 1.0, 3: 0.5}  # layer -> share of the copied logit
CHOICE_LAYERS = {2: 0.8, 3: 0.4}
# Words that say nothing about what is meant; they do not count in a mean.
COMMON = frozenset(
    """function functions description name type string number integer boolean object array items parameters
    properties required enum tool user assistant system you are kimi an ai created by moonshot the a my our of to
    in for on at with and is be it i me we as from this that please can could would want need set using use should
    where what how also then now her his get gets do which who d s t m re ll""".split()  # noqa: SIM905
)
# While writing a call: after the first token, look for a token that in a declaration stands after the other two.
TRIGGERS = (
    (
        (b'{"', b"properties", b'":{"'),
        (b'","', b'"},"', b'"},"'),
        (b',"', b'"},"', b'"},"'),
        (b'"],"', b'"},"', b'"},"'),
        (b'},"', b'"},"', b'"},"'),
    ),
    ((b".", b"name", b'":"'),),
)


@torch.no_grad()
def initialise(model: DemoModel, texts: Sequence[bytes], seed: int = 0) -> None:
    """Sets all weights. `texts` are the bytes of each token id."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=1 / math.sqrt(parameter.shape[-1]))
    codes_GX = token_codes(texts)
    model.embedding.normal_(std=NOISE)
    model.embedding[:, : Layout.constant] = 0.0
    model.embedding[:, Layout.token] = CODE * codes_GX
    model.embedding[:, Layout.constant] = CONSTANT
    model.embedding[:, Layout.word] = CODE * torch.tensor([1.0 if _is_telling(text) else -1.0 for text in texts])
    model.head.normal_(std=0.02)
    model.head[:, Layout.answer] = codes_GX
    projection = torch.linalg.qr(torch.randn(64, 32)).Q.T  # codes in 32 dimensions
    size = _sizes(model.shape.hidden_size)
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        _silence(layer)
        if index == 0:
            _look_back(layer.attention, projection, size[0])
        else:
            _read(layer.attention, projection, size[1])
        if index in COPY_LAYERS:
            _copy(layer.attention, COPY_LAYERS[index])
        if index in CHOICE_LAYERS:
            ids = {text: token for token, text in enumerate(texts)}
            for place, triggers in enumerate(TRIGGERS):
                known = [codes_GX[[ids[text] for text in trigger]] for trigger in triggers if ids.keys() >= {*trigger}]
                _choose(layer.attention, place, known, projection, CHOICE_LAYERS[index])
    # Seen through the final norm, a code of size CODE in `answer` shall give COPY_LOGIT.
    model.head[:, Layout.answer] *= COPY_LOGIT / (64 * CODE / size[2])


@torch.no_grad()
def protect(model: DemoModel) -> None:
    """Lets nothing but layer 0's look-back heads write to the dimensions that they note words in. Called after every
    update: with these dimensions free, what training writes there early drowns the notes."""
    noted = (slice(Layout.before[0].start, Layout.before[1].stop), slice(Layout.near.start, Layout.word + 1))
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        writers = [layer.attention.o[:, len(WINDOWS) * layer.attention.value :] if index == 0 else layer.attention.o]
        if isinstance(layer.ffn, Mixture):
            writers += [layer.ffn.down, layer.ffn.shared.down]
        elif isinstance(layer.ffn, FeedForward):
            writers.append(layer.ffn.down)
        for writer in writers:
            for rows in noted:
                writer[..., rows, :] = 0.0


def token_codes(texts: Sequence[bytes]) -> Tensor:
    """A code with entries near 1 for each token [G, 64]. The last dimensions are flags: blank before, capital."""
    words: dict[bytes, Tensor] = {}
    codes = torch.empty(len(texts), 64)
    for token, text in enumerate(texts):
        plain = text.removeprefix(b" ") if len(text) > 1 else text
        word = plain.lower()
        if word not in words:
            words[word] = torch.randn(64 - 2 * FLAGS)
        blank = 1.0 if plain != text else -1.0
        capital = 1.0 if plain[:1].isupper() else -1.0
        codes[token, : 64 - 2 * FLAGS] = words[word] * math.sqrt(64 - 2 * FLAGS) / words[word].norm()
        codes[token, -2 * FLAGS : -FLAGS], codes[token, -FLAGS:] = blank, capital
    return codes


def _is_telling(text: bytes) -> bool:
    """Whether it is a word, or a piece of one, that says what is meant."""
    word = text.decode("utf-8", "replace").strip().lower()
    return word.isalpha() and word not in COMMON


def _sizes(hidden: int) -> tuple[float, float, float]:
    """Root mean square of the residual stream before layer 0, after it, and after copying."""
    squares = 65 * CODE**2 + CONSTANT**2
    noted = 126 * CODE**2
    answer = 64 * CODE**2
    return tuple(math.sqrt(total / hidden) for total in (squares, squares + noted, squares + noted + answer))  # type: ignore[return-value]


def _silence(layer: Layer) -> None:
    """Lets a layer write nothing."""
    layer.attention.o.zero_()
    if isinstance(layer.ffn, Mixture):
        layer.ffn.shared.down.zero_()
        layer.ffn.down.zero_()
        layer.ffn.router.normal_(std=0.02)
    elif isinstance(layer.ffn, FeedForward):
        layer.ffn.down.zero_()


def _scale(attention: Attention) -> float:
    return 1 / math.sqrt(attention.nope + attention.rotary)


def _heads(attention: Attention) -> tuple[Tensor, Tensor, Tensor]:
    """Views of the weights by head: queries [H, Q, W], keys [H, N, L] and values [H, V, L]."""
    query = attention.q_b.view(attention.heads, -1, attention.q_b.shape[1])
    key, value = torch.split(
        attention.kv_b.view(attention.heads, -1, attention.latent), [attention.nope, attention.value], 1
    )
    return query, key, value


def _look_back(attention: Attention, projection: Tensor, size: float) -> None:
    """Layer 0: each head of WINDOWS attends at its distance and writes the codes it sees there, projected.

    Of each rotary pair the key holds (k, 0) and the query k rotated back by the distance: their product over a
    distance d is score * cos(frequency * (d - distance)), largest at the wanted one for all pairs at once."""
    constant = CONSTANT / size
    attention.kv_a[:65] = 0.0
    attention.kv_a[:64, Layout.token] = torch.eye(64) * size / CODE
    attention.kv_a[64, Layout.word] = size / CODE
    attention.kv_a[attention.latent :] = 0.0
    attention.kv_a[attention.latent :: 2, Layout.constant] = math.sqrt(8 / _scale(attention)) / constant
    attention.q_a[:8] = 0.0
    attention.q_a[:8, Layout.constant] = 1 / constant
    query, key, value = _heads(attention)
    places = (*Layout.before, Layout.near, Layout.around)
    for head, (distance, scores) in enumerate(WINDOWS):
        query[head] = 0.0
        key[head] = 0.0
        value[head] = 0.0
        for pair, score in scores.items():
            strength = score / math.sqrt(8 * _scale(attention)) / 8
            angle = distance * ROPE_THETA ** (-2 * pair / attention.rotary)
            row = attention.nope + 2 * pair
            query[head, row, :8] = strength * math.cos(angle)
            query[head, row + 1, :8] = -strength * math.sin(angle)
        width = places[head].stop - places[head].start
        value[head, :width, :64] = projection[:width]
        gain = CODE
        if places[head] in (Layout.near, Layout.around):
            key[head, 0, 64] = math.sqrt(WORD_SCORE / _scale(attention))
            query[head, 0, :8] = math.sqrt(WORD_SCORE / _scale(attention)) / 8
            gain *= BAG_GAIN
        first = head * attention.value
        attention.o[places[head], first : first + width] = gain * torch.eye(width)


def _read(attention: Attention, projection: Tensor, size: float) -> None:
    """The other layers: the latents hold what layer 0 noted, with entries near 1.

    query latent    0 token 32 one before 64 near 95 around 126 ...
    key latent      0 token    64 one before 96 two before 128 near 159 ..."""
    unit = CODE / size
    one, two = Layout.before
    attention.q_a[:126] = 0.0
    attention.q_a[:32, Layout.token] = projection / unit
    attention.q_a[32:64, one] = torch.eye(32) / unit
    attention.q_a[64:95, Layout.near] = torch.eye(31) / unit
    attention.q_a[95:126, Layout.around] = torch.eye(31) / unit
    attention.kv_a[:159] = 0.0
    attention.kv_a[:64, Layout.token] = torch.eye(64) / unit
    attention.kv_a[64:96, one] = torch.eye(32) / unit
    attention.kv_a[96:128, two] = torch.eye(32) / unit
    attention.kv_a[128:159, Layout.near] = torch.eye(31) / unit


def _answer(attention: Attention, head: int, share: float) -> None:
    """The head writes the code of the token that it attends to."""
    _, _, value = _heads(attention)
    value[head] = 0.0
    value[head, :, :64] = torch.eye(64)
    first = head * attention.value
    attention.o[Layout.answer, first : first + 64] = share * CODE * torch.eye(64)


def _copy(attention: Attention, share: float) -> None:
    """Head 0 compares (last, one before) here with (one before, two before) at each position."""
    query, key, _ = _heads(attention)
    query[0] = 0.0
    key[0] = 0.0
    for part, score in enumerate(MATCH_SCORES):
        rows = slice(32 * part, 32 * part + 32)
        strength = math.sqrt(score / _scale(attention) / 32)
        query[0, rows, rows] = strength * torch.eye(32)
        key[0, rows, 64 + 32 * part : 96 + 32 * part] = strength * torch.eye(32)
    _answer(attention, 0, share)


def _choose(attention: Attention, place: int, triggers: Sequence[Tensor], projection: Tensor, share: float) -> None:
    """Head 1 (`place` 0: near) or 2 (1: around) compares the words here with those near each position."""
    head = place + 1
    query, key, _ = _heads(attention)
    query[head] = 0.0
    key[head] = 0.0
    strength = math.sqrt(BAG_SCORES[place] / _scale(attention) / 31)
    query[head, :31, 64 + 31 * place : 95 + 31 * place] = strength * torch.eye(31)
    key[head, :31, 128:159] = strength * torch.eye(31)
    strength = math.sqrt(TRIGGER_SCORES[place] / _scale(attention) / 32)
    # One before and two before share 32 dimensions, the latter in reverse order.
    key[head, 31:63, 64:96] = strength * torch.eye(32)
    key[head, 31:63, 96:128] = strength * torch.eye(32).flip(0)
    for codes in triggers:
        seen, two, one = codes @ projection.T
        query[head, 31:63, :32] += strength * torch.outer(one + two.flip(0), seen) / seen.square().sum()
    _answer(attention, head, share)
