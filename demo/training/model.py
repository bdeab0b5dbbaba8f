"""The training forward of the demonstration model: DeepSeek-V3's arithmetic for whole batches of short texts, in plain
torch. Serving has its own (engine.models); a test holds the two together.

Parameters are fp32 and are used in bf16, as they will be served. Experts of a layer lie stacked.
Shapes: B texts, S tokens of a text, T = B x S, D model, H heads, W query rank, L latent, N head without rotary,
R rotary, Q = N + R, V value head, E experts, K experts of a token, F width, M = T x K, G vocabulary.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from demo.presets import Shape
from demo.training.gradients import attend, blocks, mean_loss
from demo.training.shape import EPS, ROPE_THETA, VOCABULARY


class DemoModel(nn.Module):
    """Token ids in, final hidden states out; `logits` makes logits of chosen ones."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = _weight(VOCABULARY, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape, index) for index in range(shape.num_hidden_layers))
        self.norm = nn.Parameter(torch.ones(shape.hidden_size))
        self.head = _weight(VOCABULARY, shape.hidden_size)

    def forward(
        self,
        tokens_BS: Tensor,
        from_P: Tensor | None = None,
        places_BS: Tensor | None = None,
        ways_BS: Tensor | None = None,
    ) -> Tensor:
        """Hidden states after the final norm, [B, S, D], or [P, D] of `from_P` among all B x S: what else there is of
        the last layer's feed-forward is not computed then. Texts begin at the row's start; padding follows them.
        `places_BS` and `ways_BS`: see demo.training.batches; without them, plain texts."""
        if places_BS is None:
            places_BS = torch.arange(tokens_BS.shape[1], device=tokens_BS.device).expand_as(tokens_BS)
        cos, sin = rotations(places_BS, self.shape.qk_rope_head_dim)
        masks = hidden_keys(torch.zeros_like(tokens_BS) if ways_BS is None else ways_BS)
        hidden = functional.embedding(tokens_BS, self.embedding).bfloat16()
        for index, layer in enumerate(self.layers):
            last = index == len(self.layers) - 1
            hidden = layer(hidden, cos, sin, masks, from_P if last else None)
        return rms_norm(hidden, self.norm)

    def logits(self, hidden_XD: Tensor) -> Tensor:
        return linear(hidden_XD, self.head)

    def loss(self, hidden_PD: Tensor, targets_P: Tensor) -> Tensor:
        """Mean cross-entropy of the logits."""
        return mean_loss(hidden_PD, self.head, targets_P)


class Layer(nn.Module):
    """Attention, then a feed-forward block: dense in the first layers, a mixture of experts in the others."""

    def __init__(self, shape: Shape, index: int) -> None:
        super().__init__()
        self.attention_norm = nn.Parameter(torch.ones(shape.hidden_size))
        self.attention = Attention(shape)
        self.ffn_norm = nn.Parameter(torch.ones(shape.hidden_size))
        dense = index < shape.first_k_dense_replace
        self.ffn = FeedForward(shape.hidden_size, shape.intermediate_size) if dense else Mixture(shape)

    def forward(
        self, hidden_BSD: Tensor, cos_BSR: Tensor, sin_BSR: Tensor, masks: list[Tensor], from_P: Tensor | None = None
    ) -> Tensor:
        hidden = hidden_BSD + self.attention(rms_norm(hidden_BSD, self.attention_norm), cos_BSR, sin_BSR, masks)
        if from_P is not None:
            hidden = hidden.flatten(0, 1).index_select(0, from_P)
        out: Tensor = hidden + self.ffn(rms_norm(hidden, self.ffn_norm))
        return out


class Attention(nn.Module):
    """Multi-head latent attention in its expanded form."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        heads, self.nope, self.rotary = shape.num_attention_heads, shape.qk_nope_head_dim, shape.qk_rope_head_dim
        self.heads, self.latent, self.value = heads, shape.kv_lora_rank, shape.v_head_dim
        self.q_a = _weight(shape.q_lora_rank, shape.hidden_size)
        self.q_a_norm = nn.Parameter(torch.ones(shape.q_lora_rank))
        self.q_b = _weight(heads * (self.nope + self.rotary), shape.q_lora_rank)
        self.kv_a = _weight(shape.kv_lora_rank + self.rotary, shape.hidden_size)
        self.kv_a_norm = nn.Parameter(torch.ones(shape.kv_lora_rank))
        self.kv_b = _weight(heads * (self.nope + self.value), shape.kv_lora_rank)
        self.o = _weight(shape.hidden_size, heads * self.value)

    def forward(self, x_BSD: Tensor, cos_BSR: Tensor, sin_BSR: Tensor, masks: list[Tensor]) -> Tensor:
        B, S, _ = x_BSD.shape
        query_BHSQ = linear(rms_norm(linear(x_BSD, self.q_a), self.q_a_norm), self.q_b)
        query_BHSQ = query_BHSQ.view(B, S, self.heads, -1).transpose(1, 2)
        query_nope, query_rotary = torch.split(query_BHSQ, [self.nope, self.rotary], -1)
        latent_BSL, key_BSR = torch.split(linear(x_BSD, self.kv_a), [self.latent, self.rotary], -1)
        pairs = linear(rms_norm(latent_BSL, self.kv_a_norm), self.kv_b).view(B, S, self.heads, -1).transpose(1, 2)
        key_nope, value_BHSV = torch.split(pairs, [self.nope, self.value], -1)
        key_rotary = rotate(key_BSR, cos_BSR, sin_BSR)[:, None].expand(B, self.heads, S, self.rotary)
        query_BHSQ = torch.cat([query_nope, rotate(query_rotary, cos_BSR[:, None], sin_BSR[:, None])], -1)
        key_BHSQ = torch.cat([key_nope, key_rotary], -1)
        out_BHSV = attend(query_BHSQ, key_BHSQ, value_BHSV, masks)
        return linear(out_BHSV.transpose(1, 2).reshape(B, S, -1), self.o)


class FeedForward(nn.Module):
    """down(silu(gate(x)) * up(x)); gate and up are the halves of one matrix."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_up = _weight(2 * width, hidden)
        self.down = _weight(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return linear(swiglu(linear(x, self.gate_up)), self.down)


class Mixture(nn.Module):
    """Routed experts and a shared one. `bias_E` steers only which experts are chosen (arXiv 2412.19437, 2.1.2); it has
    no gradient: `balance` moves it against the load that `load_E` has counted."""

    bias_E: Tensor
    load_E: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        E, D, F = shape.n_routed_experts, shape.hidden_size, shape.moe_intermediate_size
        self.chosen = shape.num_experts_per_tok
        self.router = _weight(E, D)
        self.gate_up = _weight(E, 2 * F, D)
        self.down = _weight(E, D, F)
        self.shared = FeedForward(D, F * shape.n_shared_experts)
        self.register_buffer("bias_E", torch.zeros(E))
        self.register_buffer("load_E", torch.zeros(E), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x_TD = x.flatten(0, -2)
        scores_TE = functional.linear(x_TD.float(), self.router).sigmoid()
        ids_TK = (scores_TE.detach() + self.bias_E).topk(self.chosen, dim=-1, sorted=False).indices
        weights_TK = scores_TE.gather(1, ids_TK)
        weights_TK = weights_TK / weights_TK.sum(-1, keepdim=True)
        expert_M, order_M = ids_TK.flatten().sort(stable=True)
        counts_E = expert_M.bincount(minlength=len(self.bias_E))
        if self.training:
            self.load_E += counts_E
        rows_MD: Tensor = Spread.apply(x_TD, order_M, self.chosen)  # type: ignore[no-untyped-call]
        out_MD = self._experts(rows_MD, counts_E.tolist())
        out_TKD: Tensor = Unsort.apply(out_MD, order_M).unflatten(0, (-1, self.chosen))  # type: ignore[no-untyped-call]
        routed_TD = (out_TKD * weights_TK[..., None].to(out_TKD.dtype)).sum(1)
        out: Tensor = self.shared(x) + routed_TD.view_as(x)
        return out

    def _experts(self, rows_MD: Tensor, counts: list[int]) -> Tensor:
        gate_up, down = self.gate_up.bfloat16(), self.down.bfloat16()
        parts = torch.split(rows_MD, counts)
        inner = [functional.linear(part, gate_up[expert]) for expert, part in enumerate(parts)]
        parts = torch.split(swiglu(torch.cat(inner)), counts)
        return torch.cat([functional.linear(part, down[expert]) for expert, part in enumerate(parts)])

    @torch.no_grad()
    def balance(self, step: float) -> float:
        """Moves the bias of crowded experts down and of idle ones up. Returns the largest share of the load relative
        to an even one."""
        mean = self.load_E.mean()
        peak = float(self.load_E.max() / mean.clamp(min=1))
        self.bias_E += step * (mean - self.load_E).sign()
        self.load_E.zero_()
        return peak


class Spread(torch.autograd.Function):
    """x[order // K]: each token's row once for each of its experts, in the experts' order."""

    @staticmethod
    def forward(ctx, x_TD: Tensor, order_M: Tensor, copies: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(order_M)
        ctx.copies = copies
        return x_TD.index_select(0, order_M // copies)

    @staticmethod
    def backward(ctx, grad_MD: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        (order_M,) = ctx.saved_tensors
        grad = torch.empty_like(grad_MD).index_copy_(0, order_M, grad_MD)
        return torch.unflatten(grad, 0, (-1, ctx.copies)).sum(1), None, None


class Unsort(torch.autograd.Function):
    """The inverse of a permutation of rows: out[order] = x."""

    @staticmethod
    def forward(ctx, x_MD: Tensor, order_M: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(order_M)
        return torch.empty_like(x_MD).index_copy_(0, order_M, x_MD)

    @staticmethod
    def backward(ctx, grad_MD: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        return grad_MD.index_select(0, ctx.saved_tensors[0]), None


def hidden_keys(ways_BS: Tensor) -> list[Tensor]:
    """For each of the blocks, what to add to the scores [B, 1, queries, keys]: -inf for later keys and those of another
    way."""
    masks, places = [], torch.arange(ways_BS.shape[1], device=ways_BS.device)
    for first, end in blocks(ways_BS.shape[1]):
        query, key = ways_BS[:, first:end, None], ways_BS[:, None, :end]
        hidden = (places[first:end, None] < places[None, :end]) | ((key != query) & (key != 0))
        mask = torch.zeros(hidden.shape, dtype=torch.bfloat16, device=ways_BS.device)
        masks.append(mask.masked_fill_(hidden, -torch.inf)[:, None])
    return masks


def linear(x: Tensor, weight: Tensor) -> Tensor:
    return functional.linear(x, weight.bfloat16())


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + EPS) * weight).bfloat16()


def swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, -1)
    return functional.silu(gate) * up


def rotations(places_BS: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """cos and sin [B, S, R/2] of each pair's angle at each position."""
    frequencies = ROPE_THETA ** (-torch.arange(0, width, 2, device=places_BS.device) / width)
    angles = places_BS[..., None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x_SR: Tensor, cos_SR: Tensor, sin_SR: Tensor) -> Tensor:
    """Turns the pairs (x0, x1), (x2, x3), ... by the position's angles."""
    even, odd = torch.unflatten(x_SR.float(), -1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cos_SR - odd * sin_SR, even * sin_SR + odd * cos_SR], -1)
    return turned.flatten(-2).bfloat16()


def _weight(*size: int) -> nn.Parameter:
    """A matrix, or a stack of them, with a standard deviation of 1/sqrt(inputs)."""
    return nn.Parameter(torch.randn(*size) / math.sqrt(size[-1]))
