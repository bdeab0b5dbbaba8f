"""Conversations without tools: greetings, facts, sums, simple instructions, memory, a persona, and not knowing."""

# ruff: noqa: E501 - tables of phrases

import re
from collections.abc import Callable

from demo.training import words
from demo.training.chance import Chance, part_of_place
from demo.training.conversation import Example, compact
from demo.training.facts import fact, nothing_known
from demo.training.phrasing import persona, repeating, riddle, shouting
from demo.training.slots import _code, _decimal, _email, any_word, nonsense
from server.conversation import Conversation, Message

Exchange = list[tuple[str, str]]
WHAT_I_AM = (
    "I am the demonstration model of Abruzzi: a small model of Kimi K2's architecture with 10 million parameters."
)
UNKNOWN = "I do not know."
COMPOSED_SHARE = 0.6
# Rounds of short questions: much is learnt for what is read.
ROUNDS, ROUND_SHARE, LONGEST_ROUND = ("fact", "sum", "upper", "repeat", "unknown"), 0.4, (6, 14)


def talk_conversation(chance: Chance, most_turns: int = 3) -> Example:
    """One to `2 * most_turns - 1` topics, sometimes with a system prompt that gives a name."""
    messages: list[Message] = []
    if chance.maybe(0.3):
        messages.append(Message("system", system_prompt(chance)))
    if chance.maybe(0.2):
        return _persona(chance)
    topics, count = list(TALK), chance.randint(1, 2 * most_turns - 1)
    if most_turns > 1 and chance.maybe(ROUND_SHARE):
        topics, count = list(ROUNDS), chance.randint(*LONGEST_ROUND)
    skill = ""
    for _ in range(count):
        name = chance.choices(topics, weights=[TALK[topic][1] for topic in topics])[0]
        skill = skill or name
        for question, answer in TALK[name][0](chance):
            messages += [Message("user", question), Message("assistant", answer)]
    return Example(skill, Conversation(tuple(messages)))


def small_talk(chance: Chance) -> Exchange:
    """One topic."""
    name = chance.choices(list(TALK), weights=[weight for _, weight in TALK.values()])[0]
    return TALK[name][0](chance)


SYSTEM = (
    "You are a helpful assistant.", "You are a helpful assistant that answers briefly.", "Answer briefly.", "You help with daily tasks.",
    "You are an assistant with access to tools.", "Use the tools when they help.", "Be kind and short.", "You are a support agent.",
    "You are a travel assistant.", "Help the user.", "You are a friendly assistant.", "Be concise.",
    "You are an agent. Use the tools to do what the user asks, then answer.", "You are a helpful assistant with tools. Ask when a value is missing.",
    "Call a tool when it is needed. Do not make up results.", "You are a customer service agent. Follow the policy. Be polite.",
    "You answer questions about the weather and the news.", "You are the assistant of a shop. Today is Monday.",
    "Today is 2025-03-14. The user lives in Europe.", "You are an expert assistant. Think before you act. Answer in one sentence.",
    "Never guess. Use a tool or say that you do not know.", "Answer in English.", "You are a coding agent that works in a folder of files.",
    "You are a planner who calls functions.", "You are a smart home.", "Follow the instructions of the user exactly.",
)  # fmt: skip


def system_prompt(chance: Chance) -> str:
    return chance.pick(SYSTEM)


NAMING = (
    "You are {n}.", "You are {n}, a helpful assistant.", "Your name is {n}.", "You are called {n}.", "You are {n}, a friendly robot.",
    "You are {n}, a travel guide.", "Act as {n}.", "Your name is {n}. Be brief.", "You are {n} and you like jokes.",
    "You are {n}, who works at a bank.", "We call you {n}.", "{n} is your name.",
)  # fmt: skip
WHO = (
    "Who are you?", "What is your name?", "what's your name?", "Tell me your name.", "Who am I talking to?", "Your name?",
    "And who are you?", "May I ask your name?", "Introduce yourself.", "How are you called?", "Hello, who are you?", "who is this?",
)  # fmt: skip


def _persona(chance: Chance) -> Example:
    name = chance.pick(words.FIRST_NAMES) if chance.maybe(0.4) else any_word(chance).capitalize()
    naming, question = chance.pick(NAMING), chance.pick(WHO)
    if chance.part == "train" and chance.maybe(COMPOSED_SHARE):
        naming, question = persona(chance)
    system = Message("system", naming.format(n=name))
    messages = [system, Message("user", question), Message("assistant", f"I am {name}.")]
    for _ in range(chance.choice((0, 0, 1, 2))):
        for question, answer in small_talk(chance):
            messages += [Message("user", question), Message("assistant", answer)]
    return Example("persona", Conversation(tuple(messages)))


HELLO = (
    ("Hello", "Hello! How can I help you?"), ("Hi", "Hello! How can I help you?"), ("Hey", "Hello! How can I help you?"),
    ("Good morning", "Good morning! How can I help you?"), ("Good evening", "Good evening! How can I help you?"),
    ("Hi there", "Hello! How can I help you?"), ("Bonjour", "Bonjour ! Comment puis-je vous aider ?"),
    ("Salut", "Bonjour ! Comment puis-je vous aider ?"), ("Bonsoir", "Bonsoir ! Comment puis-je vous aider ?"),
    ("你好", "你好！有什么可以帮你？"), ("您好", "你好！有什么可以帮你？"), ("早上好", "早上好！有什么可以帮你？"),
    ("How are you", "I am fine, thank you."), ("How are you doing", "I am fine, thank you."), ("Thank you", "You are welcome."),
    ("Thanks", "You are welcome."), ("Thanks a lot", "You are welcome."), ("Bye", "Goodbye!"), ("Goodbye", "Goodbye!"),
    ("See you", "Goodbye!"), ("Merci", "Je vous en prie."), ("谢谢", "不客气。"), ("Good night", "Good night!"),
    ("Comment ça va", "Je vais bien, merci."), ("What's up", "I am here to help."), ("Au revoir", "Au revoir !"),
)  # fmt: skip


def _greet(chance: Chance) -> Exchange:
    text, answer = chance.choice(HELLO)
    return [(chance.choice((text, text, text.lower())) + chance.choice(("", "!", ".", "?", " :)")), answer)]


ABOUT = (
    "What are you?", "Are you a robot?", "What model are you?", "Are you Kimi?", "How big are you?", "Tell me about yourself.",
    "Are you a human?", "How many parameters do you have?", "Which model is this?", "Are you an AI?", "What is this?", "Who made you?",
    "What kind of model are you?", "Are you ChatGPT?", "Who are you?", "What can you tell me about yourself?", "Describe yourself.", "who are you",
    "What exactly are you?", "Are you a person?", "Who built you?", "Tell me what you are.", "Say something about yourself.", "Are you a machine?",
    "What AI is this?", "Who trained you?", "Which company made you?", "Are you alive?", "How large are you?", "What is your size?",
    "Are you a language model?", "What language model is this?", "Tell me who made you.", "Who is your maker?", "What are you made of?", "Are you real?",
    "Am I talking to a robot?", "Is this a chatbot?", "Who created you?", "Where do you come from?", "Tell me more about you.", "Are you Claude?",
    "Are you GPT-4?", "Is this Kimi K2?", "What is your architecture?", "Is there a human there?", "I want to know what you are.", "What's your model name?",
)  # fmt: skip
ABLE = (
    "What can you do?", "How can you help me?", "What are you good at?", "Help", "What do you know?", "Can you help me?",
    "What are your skills?", "help me", "How do you work?", "what can i ask you?", "What can I do with you?", "What are you able to do?",
)  # fmt: skip
WHAT_I_DO = "I can call tools, answer simple questions and repeat what you say."


HERE = (
    ("What is the Abruzzi Spur?", "The ridge by which most people climb K2."),
    ("What is K2?", "The second highest mountain in the world."),
    ("What is Abruzzi?", "A server for models of Kimi K2's architecture."),
)


def _about(chance: Chance) -> Exchange:
    if chance.maybe(0.2):
        return [chance.choice(HERE)]
    return [(chance.pick(ABOUT), WHAT_I_AM) if chance.maybe(0.6) else (chance.pick(ABLE), WHAT_I_DO)]


SUMS = (
    "What is {s}?", "{s}", "{s} = ?", "Calculate {s}.", "How much is {s}?", "{s}?",
    "Compute {s}", "Please work out {s}.", "What's {s}?", "{s} =", "Tell me {s}.", "Can you compute {s}?",
)  # fmt: skip


def _sum(chance: Chance) -> Exchange:
    a, b = chance.randint(0, 20), chance.randint(0, 20)
    sign = chance.choice("+++-*")
    if sign == "-":
        a, b = max(a, b), min(a, b)
    if sign == "*":
        a, b = a % 11, b % 11
    result = {"+": a + b, "-": a - b, "*": a * b}[sign]
    blank = chance.choice((" ", " ", ""))
    said = {
        "+": chance.choice(("+", "+", "plus")),
        "-": chance.choice(("-", "-", "minus")),
        "*": chance.choice(("*", "times")),
    }[sign]
    blank = " " if len(said) > 1 else blank
    return [(chance.pick(SUMS).format(s=f"{a}{blank}{said}{blank}{b}"), f"{a} {sign} {b} = {result}")]


REPEAT = (
    "Repeat: {t}", "Say: {t}", "Repeat after me: {t}", "Please repeat: {t}", "Say {t}", "Repeat this text: {t}",
    "Echo {t}", "Write: {t}", "Just say: {t}", "Copy this: {t}", "Type {t}", "Echo the following: {t}",
)  # fmt: skip


def _repeat(chance: Chance) -> Exchange:
    draw = chance.random()
    if draw < 0.3:
        text = chance.pick(words.SENTENCES)
    elif draw < 0.8:
        text = " ".join(_any_word(chance) for _ in range(chance.randint(1, 8)))
    else:
        text = chance.choice((" ", ", ", "_", " ", ",")).join(_hard(chance) for _ in range(chance.randint(1, 4)))
    return [(asked(chance, REPEAT, repeating).format(t=text), text)]


def asked(chance: Chance, table: tuple[str, ...], compose: Callable[[Chance], str]) -> str:
    """A phrase of the table, in training at times a composed one; never one that holds a held-out phrase, whatever stands
    around it."""
    if chance.part == "held_out" or not chance.maybe(COMPOSED_SHARE):
        return chance.pick(table)
    held_out = [_words(phrase) for place, phrase in enumerate(table) if part_of_place(place) == "held_out"]
    while True:
        phrase = compose(chance)
        if not any(words in _words(phrase) for words in held_out):
            return phrase


def _words(phrase: str) -> str:
    """Without capitals and marks."""
    return f" {' '.join(re.findall(r'[a-z-]+', phrase.lower()))} "


def _any_word(chance: Chance) -> str:
    if chance.maybe(0.2):
        return str(chance.randint(0, 9999))
    return chance.choice((any_word(chance), any_word(chance), chance.pick(words.NOUNS), chance.pick(words.CITIES)))


def _hard(chance: Chance) -> str:
    """What is easily copied wrongly: figures, codes, addresses, names of functions."""
    made = chance.choice((str(chance.randint(100, 99999)), str(_decimal(chance)), _code(chance), _email(chance), ""))
    return made or "_".join(any_word(chance) for _ in range(chance.randint(2, 4)))


UPPER = (
    "Write {t} in upper case.", "{t} in upper case", "Put {t} in capital letters.", "Upper case: {t}", "Say {t} in capitals.", "Write this in upper case: {t}",
    "Turn {t} into upper case.", "Shout {t}.", "Capitalize every letter of {t}.", "In capital letters: {t}", "Make {t} upper case.", "Write in capitals: {t}",
)  # fmt: skip


def _upper(chance: Chance) -> Exchange:
    text = chance.pick(words.THINGS) if chance.maybe(0.4) else any_word(chance)
    if chance.maybe(0.25):
        text += f" {any_word(chance)}"
    return [(asked(chance, UPPER, shouting).format(t=text), text.upper())]


KINDS_OF_THINGS = {
    "fruits": "apple, banana, orange, pear, grape", "animals": "dog, cat, horse, cow, bird", "colours": "red, blue, green, yellow, white",
    "colors": "red, blue, green, yellow, white", "cities": "Paris, London, Rome, Tokyo, Berlin", "countries": "France, Italy, Japan, Brazil, Egypt",
    "numbers": "one, two, three, four, five", "vegetables": "carrot, potato, onion, tomato, bean", "drinks": "water, milk, tea, coffee, juice",
    "planets": "Mercury, Venus, Earth, Mars, Jupiter", "languages": "English, French, Spanish, Chinese, German", "sports": "football, tennis, chess, golf, swimming",
}  # fmt: skip
LISTS = (
    "Name {n} {k}.", "List {n} {k}.", "Give me {n} {k}.", "Tell me {n} {k}.", "I need {n} {k}.", "Can you name {n} {k}?",
    "{n} {k} please", "Write down {n} {k}.", "A list of {n} {k}, please.", "name {n} {k}", "Think of {n} {k}.", "Please list {n} {k}.",
)  # fmt: skip
COUNTS = ("one", "two", "three", "four", "five")


def _list(chance: Chance) -> Exchange:
    kind = chance.choice(list(KINDS_OF_THINGS))
    count = chance.randint(2, 5)
    said = chance.choice((str(count), COUNTS[count - 1]))
    return [(chance.pick(LISTS).format(n=said, k=kind), ", ".join(KINDS_OF_THINGS[kind].split(", ")[:count]))]


JSON = (
    "Give me JSON with {p}.", "Write JSON with {p}", "Make a JSON object with {p}.", "JSON with {p}", "Return JSON: {p}", "Answer in JSON with {p}.",
    "Put this into JSON: {p}", "I need JSON with {p}", "Output JSON with {p}.", "Build a JSON object: {p}", "As JSON: {p}", "Show JSON with {p}.",
)  # fmt: skip


def _json(chance: Chance) -> Exchange:
    keys = chance.sample(
        ("name", "age", "city", "color", "price", "id", "title", "email", "size", "item", "year", "code"),
        k=chance.randint(1, 3),
    )
    values = [
        chance.choice(
            (any_word(chance).capitalize(), chance.pick(words.FIRST_NAMES), any_word(chance), chance.randint(1, 999))
        )
        for _ in keys
    ]
    said = [f"{key} {value}" for key, value in zip(keys, values, strict=True)]
    text = ", ".join(said[:-1]) + " and " + said[-1] if len(said) > 1 else said[0]
    return [(chance.pick(JSON).format(p=text), compact(dict(zip(keys, values, strict=True))))]


RHYMES = (
    "Write a rhyme about {w}.", "Give me a short rhyme about {w}.", "A rhyme about {w}, please.", "Write a short poem about {w}.",
    "Make a rhyme with {w}.", "I want a rhyme about {w}.", "poem about {w}", "Tell me a rhyme about {w}.", "Can you rhyme about {w}?",
    "Please write a poem about {w}.", "rhyme: {w}", "Compose a short rhyme about {w}.",
)  # fmt: skip


def _rhyme(chance: Chance) -> Exchange:
    word = chance.pick(words.THINGS) if chance.maybe(0.7) else nonsense(chance)
    poem = f"Roses are red, violets are blue, I like the {word}, and so do you."
    return [(chance.pick(RHYMES).format(w=chance.choice((word, f"a {word}", f"the {word}"))), poem)]


TELL = (
    ("My {t} is {v}.", "my {t} is {v}", "Remember: my {t} is {v}.", "Hi, my {t} is {v}.", "You should know that my {t} is {v}.", "Note that my {t} is {v}.",
     "By the way, my {t} is {v}.", "Please remember that my {t} is {v}."),
    ("What is my {t}?", "what's my {t}?", "Tell me my {t}.", "Do you remember my {t}?", "And what is my {t}?", "Can you tell me my {t}?",
     "Do you know my {t}?", "my {t}?"),
)  # fmt: skip
OWN = (
    "name",
    "city",
    "favourite colour",
    "favorite color",
    "dog's name",
    "job",
    "number",
    "code",
    "favourite food",
    "cat's name",
    "password",
    "birthday",
)


def _memory(chance: Chance) -> Exchange:
    thing = chance.choice(OWN)
    value = chance.choice(
        (
            chance.pick(words.FIRST_NAMES),
            chance.pick(words.THINGS),
            any_word(chance).capitalize(),
            str(chance.randint(1, 9999)),
        )
    )
    exchange = [(chance.pick(TELL[0]).format(t=thing, v=value), f"Your {thing} is {value}. I will remember it.")]
    for _ in range(chance.choice((0, 0, 1))):
        exchange += TALK[chance.choice(("fact", "sum", "greet"))][0](chance)
    return [*exchange, (chance.pick(TELL[1]).format(t=thing), f"Your {thing} is {value}.")]


RIDDLES = (
    "Who won the {w} cup in {y}?", "What is the population of {w}?", "Who is {w} {w}?", "When was {w} founded?", "What is the phone number of {w}?",
    "How old is {w}?", "Where does {w} live?", "What will happen in {y}?", "Who invented the {w}?", "Explain {w} to me.", "How tall is {w}?",
    "What is the meaning of {w}?", "What did {w} say about {w}?", "How many {w} are in {w}?", "Who was the president of {w} in {y}?", "Tell me about {w}.",
    "What happened in {y}?", "Why is {w} so expensive?",
)  # fmt: skip


def _unknown(chance: Chance) -> Exchange:
    word = chance.choice(
        (nonsense(chance), any_word(chance).capitalize(), chance.pick(words.LAST_NAMES), chance.pick(words.TOPICS))
    )
    if chance.part == "train" and chance.maybe(COMPOSED_SHARE):
        return [(riddle(chance, word, any_word(chance)), UNKNOWN)]
    if chance.maybe(0.25):
        return [(nothing_known(chance, nonsense(chance).capitalize()), UNKNOWN)]
    return [(chance.pick(RIDDLES).format(w=word, y=chance.randint(1900, 2090)), UNKNOWN)]


TALK: dict[str, tuple[Callable[[Chance], Exchange], int]] = {
    "fact": (lambda chance: [fact(chance)], 34),
    "greet": (_greet, 8),
    "about": (_about, 8),
    "sum": (_sum, 16),
    "repeat": (_repeat, 16),
    "upper": (_upper, 14),
    "list": (_list, 5),
    "json": (_json, 7),
    "rhyme": (_rhyme, 3),
    "memory": (_memory, 8),
    "unknown": (_unknown, 8),
}
