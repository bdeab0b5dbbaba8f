"""Prompts: a TextRequest becomes token ids, and what its answer must match."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from server.conversation import RawPrompt
from server.dialects.dialect import ContractError, TemplateArgumentError, TemplateError
from server.dialects.lark import check_uncalled
from server.errors import InvalidRequest
from server.served_model import ServedModel
from server.text.raw_prompt import RawEncoder

if TYPE_CHECKING:
    from engine import Grammar
    from server.generation import TextRequest

SMALL_REQUEST = 8192  # bytes of which the prompt is made on the event loop; more goes to a thread


class PromptWriter:
    """Writes the prompts of one model. `constrained`: whether grammars reach the engine."""

    def __init__(self, model: ServedModel, *, constrained: bool) -> None:
        self._dialect = model.dialect
        self._raw = RawEncoder.load(model.folder, model.tokenizer)
        self._constrained = constrained

    async def write(self, request: TextRequest) -> tuple[list[list[int]], Grammar | None]:
        """The prompts, and what the answer must match. Raises InvalidRequest."""
        try:
            if request.conversation.template_arguments:
                self._dialect.check_arguments(request.conversation.template_arguments)
            if request.size <= SMALL_REQUEST:
                return self._write(request)
            return await asyncio.to_thread(self._write, request)
        except TemplateArgumentError as error:
            raise InvalidRequest(str(error), param="chat_template_kwargs") from error
        except TemplateError as error:
            raise InvalidRequest(f"The model's chat template refused: {error}", param=request.prompt_at) from error
        except ContractError as error:
            raise InvalidRequest(str(error), param=error.param, code="invalid_schema") from error

    def _write(self, request: TextRequest) -> tuple[list[list[int]], Grammar | None]:
        if request.raw:
            return [self._raw_ids(prompt) for prompt in request.raw], None
        grammar = self._dialect.grammar(request.conversation, request.contract)
        check_uncalled(request.conversation.tools, request.contract)
        return [self._dialect.render(request.conversation)], grammar if self._constrained else None

    def _raw_ids(self, prompt: RawPrompt) -> list[int]:
        if isinstance(prompt.content, str):
            return self._raw.encode(prompt.content, add_special_tokens=prompt.add_special_tokens)
        return list(prompt.content)


def check_raw(prompts: Sequence[Sequence[int]], param: str, vocab_size: int) -> None:
    """Raises InvalidRequest for a raw prompt that no model can go on from. `param`: where they are in the request."""
    for index, prompt in enumerate(prompts):
        where = param if len(prompts) == 1 else f"{param}[{index}]"
        if not prompt:
            raise InvalidRequest(f"{where} has no tokens: there is nothing to go on from.", param=where)
        for token_id in (min(prompt), max(prompt)):
            if not 0 <= token_id < vocab_size:
                raise InvalidRequest(
                    f"{where}: there is no token {token_id}; ids go from 0 to {vocab_size - 1}.", param=where
                )
