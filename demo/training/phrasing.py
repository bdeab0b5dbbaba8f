"""Ways to say things that are put together from parts, for the training part only: hundreds, so that the model reads
past them. The evaluation part says things in the ways that the tables hold out, and in no other."""

# ruff: noqa: E501 - tables of phrases

from demo.training.chance import Chance

_OPENERS = (
    "", "", "", "", "", "", "Hi, ", "Hello! ", "Hey there, ", "Good evening, ", "Hi there! ", "Alright, ", "Next, ", "One more thing: ",
    "Thanks. ", "Dear assistant, ", "Excuse me, ", "Listen, ", "As we said, ", "For my work: ", "If you can, ", "When you have a minute, ",
    "Sorry to bother you, ", "I have a task: ", "Assistant, ", "Great. ", "Thank you! ", "Hm, ", "Yes, ", "Right, ", "First of all, ", "Then ",
)  # fmt: skip
_ASKS = (
    "{r}", "{r}", "{r}", "{r}", "please {r}", "can you {r}", "would you mind, {r}", "I want you to {r}", "I'd like you to {r}", "you have to {r}",
    "it would be great if you could {r}", "I was wondering if you could {r}", "may I ask you to {r}", "I beg you to {r}", "make sure to {r}",
    "I am trying to {r}", "I am going to {r}", "we want to {r}", "my colleague needs to {r}", "your job is to {r}", "the next step is to {r}",
    "feel free to {r}", "it is necessary to {r}", "I was told to {r}", "somebody has to {r}", "how can I {r}", "I wish to {r}", "we have to {r}",
    "is it possible to {r}", "are you able to {r}", "you may {r}", "I have been asked to {r}", "just {r}", "now please {r}", "I need someone to {r}",
)  # fmt: skip
_CLOSERS = (
    "", "", ".", ".", ".", "?", "!", " please.", ", thanks.", ", thank you!", " when you can.", ", if possible.", " as soon as possible.",
    " for us.", ", will you?", ". Thanks!", ". It is important.", ". That is all.", ", OK?", " quickly.",
)  # fmt: skip
_FRONT = (
    "",
    "",
    "",
    "Hi, ",
    "Hello! ",
    "OK, ",
    "So, ",
    "Hey there, ",
    "Good evening, ",
    "Next, ",
    "Thanks. ",
    "Excuse me, ",
    "Hm, ",
    "And ",
)
_BACK = ("", "", "?", "?", ".", "!", " please?", " please", ", thanks", ", do you know?")

_LINKS = (
    "with", "with", "using", "plus", "given", "assuming", "but with", "also", "my", "its", "choose", "let", "pick", "take", "note:", "via",
    "and", "and with", "at", "on", "under", "the", "where", "that has", "use", "set", "put", "by",
)  # fmt: skip
_DETERMINERS = ("", "", "", "the ", "a ", "my ", "its ")
_JOINTS = (
    " ",
    " ",
    " ",
    " = ",
    ": ",
    " is ",
    " equal to ",
    "=",
    " as ",
    " at ",
    ", which is ",
    " - ",
    " should be ",
    " must be ",
    " will be ",
)
_AS = (
    " as {n}",
    " as the {n}",
    " for the {n}",
    " being the {n}",
    " ({n})",
    " is the {n}",
    " is my {n}",
    " for {n}",
    " as its {n}",
    " in {n}",
)


def framing(chance: Chance) -> str:
    """How to put an order, with {r} where it belongs."""
    return chance.choice(_OPENERS) + chance.choice(_ASKS) + chance.choice(_CLOSERS)


def questioning(chance: Chance) -> str:
    """How to put a question or a statement, with {r} where it belongs."""
    return chance.choice(_FRONT) + "{r}" + chance.choice(_BACK)


def naming(chance: Chance) -> str:
    """How to give the value {v} of what is called {n}."""
    if chance.maybe(0.3):
        return chance.choice(("with ", "and ", "", "", "use ", "take ", "using ")) + "{v}" + chance.choice(_AS)
    return f"{chance.choice(_LINKS)} {chance.choice(_DETERMINERS)}{{n}}{chance.choice(_JOINTS)}{{v}}"


_CALLED = (
    "You are",
    "Your name is",
    "They call you",
    "People call you",
    "Here you are called",
    "Be",
    "Play",
    "You answer to the name",
    "From now on you are",
    "Pretend to be",
    "This is",
    "You go by",
    "In this chat you are",
    "Act as",
    "Answer as",
    "You will be",
    "We named you",
    "Users know you as",
    "Speak as",
    "You were christened",
    "Your role:",
    "Name:",
    "The assistant is called",
    "Your user calls you",
    "I call you",
    "Everybody says",
)
_WHAT = (
    "", ".", ", a robot.", ", a helpful robot.", ", the assistant of a bank.", ", a pirate.", ". You are kind.", ". Answer briefly.", ", who likes tea.",
    ", a model in a shop.", ". You help with travel.", ", an assistant.", ", a teacher.", ", our oldest colleague.", ". Be polite!", ", the best guide in town.",
)  # fmt: skip
_WHO = (
    "who are you", "what is your name", "what are you called", "your name please", "tell me who you are", "and your name", "with whom do I speak",
    "do you have a name", "say your name", "what should I call you", "can you tell me your name", "please introduce yourself", "name",
    "who is that", "who is there", "who is speaking", "what was your name again", "whom am I writing to", "who are you please", "the name",
    "what do people call you", "under which name do I know you", "state your name", "and you are", "who is it", "whom do I have the pleasure with", "are you somebody",
)  # fmt: skip


def persona(chance: Chance) -> tuple[str, str]:
    """A system prompt that gives the name {n}, and a question for it."""
    system = chance.choice(_CALLED) + " {n}" + chance.choice(_WHAT)
    question = chance.choice(("", "", "Hi, ", "Hello, ", "So, ", "OK, ", "Well, ")) + chance.choice(_WHO)
    question += chance.choice(("?", "?", "", ".", "!"))
    return system, _started(chance, question)


_SAY = (
    "repeat", "say", "echo", "write", "copy", "type", "print", "output", "answer with", "reply with", "respond with", "say back", "give back",
    "quote", "return", "read back", "recite", "write down", "send back", "state", "tell me again", "display", "parrot", "speak", "utter",
)  # fmt: skip
_WORDS = (
    "", "", "", "this", "the following", "the following text", "these words", "my words", "exactly this", "this sentence", "what comes next",
    "after me", "this line", "the words", "the text", "only this", "the phrase", "this message", "what I say", "back to me", "this for me", "it",
)  # fmt: skip
_COLONS = (": ", ": ", ": ", " ", " - ", ":\n", ", ", ":", " -> ")
_POLITE = ("", "", "", "please ", "just ", "now ", "could you ", "can you ", "I want you to ", "would you ", "simply ")


def repeating(chance: Chance) -> str:
    """A wish to hear the text {t}."""
    words = " ".join(filter(None, (chance.choice(_SAY), chance.choice(_WORDS))))
    text = chance.choice(("{t}", "{t}", "{t}", "'{t}'", '"{t}"'))
    return _started(chance, f"{chance.choice(_POLITE)}{words}{chance.choice(_COLONS)}{text}")


_CAPITALS = (
    "in upper case", "in capital letters", "in capitals", "in uppercase", "in all caps", "in block letters", "with capital letters only",
    "in big letters", "in upper-case letters", "all in capitals", "in caps", "as capitals",
)  # fmt: skip
_INTO_CAPITALS = (
    "uppercase {t}", "make {t} uppercase", "convert {t} to upper case", "change {t} to capitals", "turn {t} to uppercase", "put {t} into capitals",
    "uppercase: {t}", "raise {t} to upper case", "transform {t} to capital letters", "all caps: {t}", "caps: {t}", "{t}, but uppercase",
)  # fmt: skip


def shouting(chance: Chance) -> str:
    """A wish to have {t} in capital letters."""
    if chance.maybe(0.4):
        return _started(chance, chance.choice(_POLITE) + chance.choice(_INTO_CAPITALS))
    words = f"{chance.choice(_SAY)} {{t}} {chance.choice(_CAPITALS)}"
    if chance.maybe(0.4):
        words = f"{chance.choice(_SAY)} {chance.choice(('this ', 'the next words ', 'it ', ''))}{chance.choice(_CAPITALS)}: {{t}}"
    return _started(chance, chance.choice(_POLITE) + words)


def _started(chance: Chance, text: str) -> str:
    """With a capital, mostly."""
    return text[0].upper() + text[1:] if chance.maybe(0.7) else text


_RIDDLES = (
    "who", "what", "where", "when", "why", "how", "which one", "since when", "how often", "how much", "with whom", "for how long", "how many times", "whose friend", "which year",
)  # fmt: skip
_AUXILIARIES = ("is", "was", "did", "does", "will", "can", "would", "has", "may")
_ENDS = (
    "",
    "",
    "",
    " now",
    " then",
    " again",
    " alone",
    " at home",
    " today",
    " last year",
    " next year",
    " with it",
    " for me",
    " after all",
)


def riddle(chance: Chance, one: str, other: str) -> str:
    """A question about words that nobody can answer."""
    text = f"{chance.choice(_RIDDLES)} {chance.choice(_AUXILIARIES)} {one}"
    text += f" {other}" if chance.maybe(0.6) else ""
    return text[0].upper() + text[1:] + chance.choice(_ENDS) + chance.choice(("?", "?", "?", ""))
