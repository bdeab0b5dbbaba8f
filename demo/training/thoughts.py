"""Short thoughts before an answer, for conversations with thinking switched on.

Only the last turn of the assistant shows its thought: the template leaves out earlier ones.
"""

from dataclasses import replace

from demo.training.chance import Chance
from demo.training.conversation import Example
from demo.training.tool_talk import ASK_BACK, NO_TOOL
from server.conversation import Conversation, Message


def thoughtful(chance: Chance, example: Example) -> Example:
    """The conversation up to one of the assistant's turns, which begins with a thought."""
    messages = example.conversation.messages
    turns = [place for place, message in enumerate(messages) if message.role == "assistant"]
    place = chance.choice(turns)
    conversation = replace(example.conversation, messages=messages[: place + 1], reasoning=True)
    thought = _thought(conversation, messages[place - 1], messages[place])
    last = replace(messages[place], reasoning=thought)
    return Example(example.skill, replace(conversation, messages=(*messages[:place], last)))


def _thought(conversation: Conversation, before: Message, answer: Message) -> str:
    if answer.tool_calls:
        return "The user wants this done. " + _calls(answer)
    if before.role == "tool":
        failed = "error" in before.content.lower() and answer.content.startswith("The tool reported")
        return "The tool failed. I say so." if failed else "The tool has answered. I tell the user what it says."
    if conversation.tools:
        if answer.content == NO_TOOL:
            return "The user wants something done. No tool fits. I say so."
        if answer.content.startswith(ASK_BACK.partition("{")[0]):
            missing = answer.content.removeprefix(ASK_BACK.partition("{")[0]).removesuffix(ASK_BACK.partition("}")[2])
            return f"The user wants this done. The {missing} is missing. I ask for it."
        return "This needs no tool. I answer."
    return "The user writes to me. I answer."


def _calls(answer: Message) -> str:
    names = [call.name for call in answer.tool_calls]
    if len(names) == 1:
        return f"The tool {names[0]} fits."
    if len(set(names)) == 1:
        return f"The tool {names[0]} fits, {len(names)} times."
    return f"The tools {' and '.join(names)} fit."
