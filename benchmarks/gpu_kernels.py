"""Each kernel beside what bounds it. Called by benchmarks/gpu.py."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional

from benchmarks.gpu_support import Clock, Shapes, matrix_bytes, random_packed, random_routing
from engine.kernels.packed import FP8
from engine.kernels.triton import gqa, linear, mla, moe, norm, route, sampling
from engine.kernels.triton.grouped_mm import moe_by_grouped_mm

Rows = list[dict[str, Any]]
BF16 = torch.bfloat16
QWEN = {"heads": 32, "kv_heads": 4, "head": 128}  # of Qwen3-30B-A3B


class Kernels:
    """The sections; each returns rows of a table. `copy` bytes a second and `rates` products a second are measured
    first."""

    def __init__(self, shapes: Shapes, device: torch.device) -> None:
        self.shapes, self.device, self.clock = shapes, device, Clock(device)
        self.copy, self.rates = 1.0, {"bf16": 1.0}

    def limits(self) -> Rows:
        """What this device does at best: copies, and square products."""
        size = self.shapes.square
        source = torch.empty(self.shapes.copied, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        self.copy = 2 * source.nbytes / self.clock(lambda: target.copy_(source))
        a, b = (torch.randn(size, size, device=self.device).to(BF16) for _ in range(2))
        self.rates["bf16"] = 2 * size**3 / self.clock(lambda: a @ b)
        rows: Rows = [{"what": "copy bandwidth (read + written)", "TB/s": self.copy / 1e12}]
        if self.clock.cuda:
            one = torch.ones((), device=self.device)
            a8, b8 = a.to(FP8), b.to(FP8).t().contiguous().t()
            seconds = self.clock(lambda: torch._scaled_mm(a8, b8, one, one, out_dtype=BF16))
            self.rates["fp8"] = 2 * size**3 / seconds
        return rows + [
            {"what": f"{name} products of {size}", "TFLOP/s": rate / 1e12} for name, rate in self.rates.items()
        ]

    def moe_decode(self) -> Rows:
        """Bytes of the experts that were hit, over time. Goal for fp8: 70% of copies."""
        s, rows = self.shapes, []
        for format in ("fp8", "int4", "plain"):
            gate_up = random_packed((s.E, 2 * s.F, s.D), format, self.device)  # type: ignore[arg-type]
            down = random_packed((s.E, s.D, s.F), format, self.device)  # type: ignore[arg-type]
            for tokens in s.decode:
                hidden = torch.randn(tokens, s.D, device=self.device).to(BF16)
                weights, ids = random_routing(tokens, s.E, s.K, self.device)
                hit = len(ids.unique())
                read = hit * (matrix_bytes(gate_up) + matrix_bytes(down))
                seconds = self.clock(lambda: moe.moe_by_tiles(hidden, weights, ids, gate_up, down))  # noqa: B023
                what = f"MoE decode, {format}, {tokens} tokens, {hit} experts hit"
                rows.append(self._by_bytes(what, read, seconds, ">= 0.7" if format == "fp8" else None))
        return rows

    def moe_prefill(self) -> Rows:
        """Goal for fp8: 50% of the matrix rate."""
        s, rows = self.shapes, []
        hidden = torch.randn(s.prefill, s.D, device=self.device).to(BF16)
        weights, ids = random_routing(s.prefill, s.E, s.K, self.device)
        work = 2 * s.prefill * s.K * 3 * s.D * s.F
        for format in ("fp8", "int4", "plain"):
            gate_up = random_packed((s.E, 2 * s.F, s.D), format, self.device)  # type: ignore[arg-type]
            down = random_packed((s.E, s.D, s.F), format, self.device)  # type: ignore[arg-type]
            seconds = self.clock(lambda: moe.moe_by_tiles(hidden, weights, ids, gate_up, down))  # noqa: B023
            kind = "fp8" if format == "fp8" else "bf16"
            goal = ">= 0.5" if format == "fp8" else None
            rows.append(self._by_work(f"MoE prefill, {format}, {s.prefill} tokens", work, seconds, kind, goal))
        return rows

    def grouped_mm(self) -> Rows:
        """The two ways of plain experts, for choice.json, both without a graph."""
        s, rows = self.shapes, []
        gate_up = random_packed((s.E, 2 * s.F, s.D), "plain", self.device)
        down = random_packed((s.E, s.D, s.F), "plain", self.device)
        for tokens in sorted({*s.decode, 4 * s.decode[-1], s.prefill}):
            hidden = torch.randn(tokens, s.D, device=self.device).to(BF16)
            given = (hidden, *random_routing(tokens, s.E, s.K, self.device), gate_up, down)
            tiles = self.clock(lambda: moe.moe_by_tiles(*given), eager=True)  # noqa: B023
            grouped = self.clock(lambda: moe_by_grouped_mm(*given), eager=True)  # noqa: B023
            rows.append({"what": f"bf16 experts, {tokens} tokens", "tokens": tokens, "Triton ms": tiles * 1e3,
                         "grouped_mm ms": grouped * 1e3})  # fmt: skip
        return rows

    def attention(self) -> Rows:
        """Goal of latent decode: 60% of copies."""
        s, rows = self.shapes, []
        blocks = -(-s.context // s.P)
        table = torch.randperm(s.requests * blocks, device=self.device).view(s.requests, blocks)
        lens = torch.full((s.requests,), s.context, device=self.device)
        up_k = torch.randn(s.H, s.N, s.L, device=self.device).mul_(s.L**-0.5).to(BF16)
        up_v = torch.randn(s.H, s.V, s.L, device=self.device).mul_(s.L**-0.5).to(BF16)
        scale, Q = (s.N + s.R) ** -0.5, s.N + s.R
        for kind in (BF16, FP8):
            cache = torch.randn(s.requests * blocks, s.P, s.L + s.R, device=self.device).to(kind)
            query = torch.randn(s.requests, s.H, Q, device=self.device).to(BF16)
            read = s.requests * s.context * (s.L + s.R) * cache.element_size()
            for requests in (1, s.requests):
                given = (query[:requests], cache, table[:requests], lens[:requests], up_k, up_v, scale)
                seconds = self.clock(lambda: mla.mla_decode(*given))  # noqa: B023
                what = f"MLA decode, {requests} x {s.context}, {kind}"
                goal = ">= 0.6" if requests == s.requests else None
                rows.append(self._by_bytes(what, read * requests // s.requests, seconds, goal))
            with patch.object(mla, "MOST_HEADS", 32):
                seconds = self.clock(lambda: mla.mla_decode(*given))  # noqa: B023
            rows.append(self._by_bytes(f"{what}, 32 heads a program", read, seconds))
            chunk = torch.randn(min(s.prefill, s.context), s.H, Q, device=self.device).to(BF16)
            T = len(chunk)
            work = T * (T + 1) // 2 * s.H * 2 * (Q + s.V)
            seconds = self.clock(lambda: mla.mla_prefill(chunk, cache, table[0], 0, up_k, up_v, scale, 256, 2048))  # noqa: B023
            rows.append(self._by_work(f"MLA prefill, {T} tokens, {kind}", work, seconds, "bf16"))
        H, G, W = (QWEN["heads"], QWEN["kv_heads"], QWEN["head"]) if self.clock.cuda else (4, 2, 16)
        cache = torch.randn(s.requests * blocks, s.P, 2 * G * W, device=self.device).to(BF16)
        query = torch.randn(s.requests, H, W, device=self.device).to(BF16)
        seconds = self.clock(lambda: gqa.gqa_decode(query, cache, table, lens, G, W**-0.5))
        rows.append(self._by_bytes(f"GQA decode, {s.requests} x {s.context}", cache.nbytes, seconds))
        return rows

    def others(self) -> Rows:
        """Products of the linear layers, norms, routing and sampling, at the decode sizes."""
        s, rows = self.shapes, []
        for format in ("fp8", "int4", "int8"):
            weight = random_packed((1, 3 * s.D // 10 // 32 * 32 or 32, s.D), format, self.device)[0]  # type: ignore[arg-type]
            for tokens in s.decode:
                x = torch.randn(tokens, s.D, device=self.device).to(BF16)
                seconds = self.clock(lambda: linear.linear(x, weight))  # noqa: B023
                size = weight.values.nbytes + (0 if weight.scale is None else weight.scale.nbytes)
                rows.append(self._by_bytes(f"linear, {format}, {tokens} tokens", size, seconds))
        x = torch.randn(s.decode[-1], s.D, device=self.device).to(BF16)
        ones, gate = torch.ones(s.D, device=self.device).to(BF16), torch.randn(s.E, s.D, device=self.device)
        bias = torch.zeros(s.E, device=self.device)
        how = torch.tensor([[1.0, 0, 1, 0, 0.5], [0.7, 50, 0.9, 0.05, 0.5]] * (s.requests // 2), dtype=torch.float64)
        logits, how = torch.randn(s.requests, s.vocabulary, device=self.device), how.to(self.device)
        small: dict[str, Callable[[], object]] = {
            "add and norm": lambda: norm.add_rms_norm(x, x, ones, 1e-6),
            "route": lambda: route.route(
                x, gate, bias, experts_per_token=s.K, groups=1, groups_kept=1, normalize=True, scale=1.0
            ),
            "route's product alone": lambda: functional.linear(x.float(), gate),
            f"sampling, {s.requests} rows": lambda: sampling.draw(logits, how),
        }
        return rows + [{"what": name, "us": self.clock(run) * 1e6} for name, run in small.items()]

    def _by_bytes(self, what: str, read: int, seconds: float, goal: str | None = None) -> dict[str, Any]:
        return {
            "what": what,
            "us": seconds * 1e6,
            "TB/s": read / seconds / 1e12,
            "of copies": read / seconds / self.copy,
            "goal": goal,
        }

    def _by_work(self, what: str, work: int, seconds: float, kind: str, goal: str | None = None) -> dict[str, Any]:
        rate = self.rates.get(kind, self.rates["bf16"])
        return {
            "what": what,
            "us": seconds * 1e6,
            "TFLOP/s": work / seconds / 1e12,
            "of products": work / seconds / rate,
            "goal": goal,
        }
