"""How everyday facts are asked for. The facts themselves are learnt; only the phrasing is split."""

# ruff: noqa: E501 - tables of phrases

from collections.abc import Iterable
from dataclasses import dataclass

from demo.training import fact_tables as tables
from demo.training.chance import Chance
from demo.training.phrasing import questioning

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Relation:
    """Pairs (a, b), ways to ask for b given {a}, and the answer."""

    questions: tuple[str, ...]
    answer: str
    pairs: Pairs


def _ask(questions: str, answer: str, pairs: Iterable[tuple[str, str]]) -> Relation:
    """`questions` stand between bars."""
    return Relation(tuple(question.strip() for question in questions.split("|")), answer, tuple(pairs))


def _column(rows: tuple[tuple[str, ...], ...], index: int) -> Pairs:
    """The first column with another one."""
    return tuple((row[0], row[index]) for row in rows)


def _turned(pairs: Pairs) -> Pairs:
    return tuple((right, left) for left, right in pairs)


def _following(items: Iterable[str]) -> Pairs:
    """Each with its next, the last with the first."""
    listed = list(items)
    return tuple(zip(listed, listed[1:] + listed[:1], strict=True))


def in_words(number: int) -> str:
    """0 to 99."""
    if number < 20:
        return tables.NUMBER_WORDS[number]
    tens, rest = divmod(number, 10)
    return tables.TENS[tens - 2] + (f"-{tables.NUMBER_WORDS[rest]}" if rest else "")


def roman(number: int) -> str:
    """1 to 89."""
    out = ""
    for value, letters in ((50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")):
        while number >= value:
            out, number = out + letters, number - value
    return out


def ordinal(number: int) -> str:
    """1 to 31, with its ending."""
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


CAPITALS, STATE_CAPITALS = _column(tables.COUNTRIES, 1), _column(tables.STATES, 1)
_SYMBOLS = (*tables.ELEMENTS, *tables.MORE_SYMBOLS)
_SPELLED = tuple((str(number), in_words(number)) for number in range(100))

RELATIONS = (
    _ask("What is the capital of {a}?|capital of {a}|Which city is the capital of {a}?|Tell me the capital of {a}.|What's the capital of {a}?|Do you know the capital of {a}?|{a}: capital?|Name the capital of {a}.",
         "The capital of {a} is {b}.", CAPITALS),
    _ask("Which country has the capital {a}?|{a} is the capital of which country?|What country is {a} the capital of?|{a} is the capital of what?|Of which country is {a} the capital?|Which country's capital is {a}?",
         "{a} is the capital of {b}.", _turned(CAPITALS)),
    _ask("On which continent is {a}?|Which continent is {a} in?|What continent is {a} on?|continent of {a}|Tell me the continent of {a}.|Where in the world is {a}?|In which part of the world is {a}?",
         "{a} is in {b}.", _column(tables.COUNTRIES, 2)),
    _ask("What currency is used in {a}?|currency of {a}|Which currency does {a} use?|What money do they use in {a}?|Tell me the currency of {a}.|With what does one pay in {a}?",
         "The currency of {a} is the {b}.", _column(tables.COUNTRIES, 3)),
    _ask("Which language is spoken in {a}?|What language do they speak in {a}?|language of {a}|What do people speak in {a}?|Tell me the language of {a}.|What is the language of {a}?",
         "People in {a} speak {b}.", _column(tables.COUNTRIES, 4)),
    _ask("What is the capital of the state of {a}?|state capital of {a}|Which city is the state capital of {a}?|Tell me the state capital of {a}.|What's the state capital of {a}?|Name the state capital of {a}.",
         "The capital of {a} is {b}.", STATE_CAPITALS),
    _ask("Which state has the capital {a}?|{a} is the capital of which state?|Of which state is {a} the capital?|What state is {a} the capital of?|Which state's capital is {a}?|{a}: capital of which state?",
         "{a} is the capital of {b}.", _turned(STATE_CAPITALS)),
    _ask("How is {a} abbreviated?|What is the abbreviation of {a}?|abbreviation of {a}|Two letters for {a}?|Tell me the abbreviation of {a}.|What's the abbreviation of {a}?",
         "{a} is abbreviated {b}.", _column(tables.STATES, 2)),
    _ask("Which state is {a}?|What state does {a} stand for?|Which state has the abbreviation {a}?|State {a}?|Tell me which state {a} is.|{a} is which state?",
         "{a} is {b}.", _turned(_column(tables.STATES, 2))),
    _ask("What is the chemical symbol of {a}?|chemical symbol of {a}|What's the symbol for {a}?|Symbol of {a}?|Tell me the chemical symbol of {a}.|Which symbol stands for {a}?",
         "The symbol of {a} is {b}.", _SYMBOLS),
    _ask("Which element has the symbol {a}?|Which element is {a}?|What element does {a} stand for?|element {a}|Tell me which element {a} is.|What is the element with the symbol {a}?",
         "{a} is the symbol of {b}.", _turned(_SYMBOLS)),
    _ask("What is the atomic number of {a}?|atomic number of {a}|What's the atomic number of {a}?|Tell me the atomic number of {a}.|How many protons has {a}?|Which atomic number has {a}?",
         "The atomic number of {a} is {b}.", ((name, str(place)) for place, (name, _) in enumerate(tables.ELEMENTS, 1))),
    _ask("What is the past tense of {a}?|past tense of {a}|What's the past of {a}?|Tell me the past tense of {a}.|Give me the past tense of {a}.|Which is the past tense of {a}?",
         "The past tense of {a} is {b}.", _column(tables.VERBS, 1)),
    _ask("What is the past participle of {a}?|past participle of {a}|What's the participle of {a}?|Tell me the past participle of {a}.|Give me the past participle of {a}.|Which is the past participle of {a}?",
         "The past participle of {a} is {b}.", _column(tables.VERBS, 2)),
    _ask("What is the opposite of {a}?|opposite of {a}|What's the opposite of {a}?|Give me the opposite of {a}.|Tell me the opposite of {a}.|Name the opposite of {a}.|Which word is the opposite of {a}?",
         "The opposite of {a} is {b}.", tables.OPPOSITES),
    _ask("What is the plural of {a}?|plural of {a}|What's the plural of {a}?|Give me the plural of {a}.|Tell me the plural of {a}.|Which is the plural of {a}?",
         "The plural of {a} is {b}.", tables.PLURALS),
    _ask("How do you say {a} in French?|What is {a} in French?|{a} in French|Translate {a} to French.|French for {a}?|What's the French word for {a}?",
         "{a} in French is {b}.", _column(tables.WORDS, 1)),
    _ask("How do you say {a} in Spanish?|What is {a} in Spanish?|{a} in Spanish|Translate {a} to Spanish.|Spanish for {a}?|What's the Spanish word for {a}?",
         "{a} in Spanish is {b}.", _column(tables.WORDS, 2)),
    _ask("How do you say {a} in German?|What is {a} in German?|{a} in German|Translate {a} to German.|German for {a}?|What's the German word for {a}?",
         "{a} in German is {b}.", _column(tables.WORDS, 3)),
    _ask("What does the French word {a} mean?|What is the French {a} in English?|French {a} in English|Translate the French {a} to English.|What does {a} mean in French?|English for the French word {a}?",
         "{a} means {b}.", _turned(_column(tables.WORDS, 1))),
    _ask("What does the Spanish word {a} mean?|What is the Spanish {a} in English?|Spanish {a} in English|Translate the Spanish {a} to English.|What does {a} mean in Spanish?|English for the Spanish word {a}?",
         "{a} means {b}.", _turned(_column(tables.WORDS, 2))),
    _ask("What does the German word {a} mean?|What is the German {a} in English?|German {a} in English|Translate the German {a} to English.|What does {a} mean in German?|English for the German word {a}?",
         "{a} means {b}.", _turned(_column(tables.WORDS, 3))),
    _ask("What colour is {a}?|What color is {a}?|Which colour has {a}?|colour of {a}|Tell me the colour of {a}.|What is the colour of {a}?|What's the color of {a}?",
         "The colour of {a} is {b}.", tables.COLOURS),
    _ask("What does a {a} say?|What sound does a {a} make?|Which sound does a {a} make?|How does a {a} sound?|Tell me what a {a} says.|What noise does a {a} make?|sound of a {a}",
         "A {a} says {b}.", tables.SOUNDS),
    _ask("What is a young {a} called?|What do you call a baby {a}?|What is a baby {a} called?|name for a young {a}|Tell me what a young {a} is called.|How is a young {a} called?",
         "A young {a} is called a {b}.", tables.YOUNG),
    _ask("How many legs does {a} have?|How many legs has {a}?|Number of legs of {a}?|Tell me how many legs {a} has.|legs of {a}|On how many legs does {a} walk?",
         "It has {b} legs.", tables.LEGS),
    _ask("What kind of animal is the {a}?|Which kind of animal is the {a}?|kind of animal: {a}|Tell me what kind of animal the {a} is.|Is the {a} a mammal, a bird or something else?|What is the {a}, a mammal or what?",
         "The {a} is one kind of {b}.", tables.CLASSES),
    _ask("Where does a {a} live?|What is the home of a {a} called?|home of a {a}|In what does a {a} live?|Tell me where a {a} lives.|Where is a {a} at home?",
         "A {a} lives in a {b}.", tables.HOMES),
    _ask("Who wrote {a}?|author of {a}|Who is the author of {a}?|Tell me who wrote {a}.|{a} was written by whom?|Which author wrote {a}?",
         "{a} was written by {b}.", tables.AUTHORS),
    _ask("Who painted {a}?|painter of {a}|Who is the painter of {a}?|Tell me who painted {a}.|{a} was painted by whom?|Which artist painted {a}?",
         "{a} was painted by {b}.", tables.PAINTERS),
    _ask("Who composed {a}?|composer of {a}|Who is the composer of {a}?|Tell me who composed {a}.|{a} was composed by whom?|Which composer wrote {a}?",
         "{a} was composed by {b}.", tables.COMPOSERS),
    _ask("Who is behind {a}?|To whom do we owe {a}?|Whose name goes with {a}?|Who is known for {a}?|Tell me who is known for {a}.|Who stands for {a}?",
         "That was {b}.", tables.INVENTORS),
    _ask("Which river flows through {a}?|river in {a}|What river flows through {a}?|On which river is {a}?|Tell me the river of {a}.|Which river is in {a}?",
         "The {b} flows through {a}.", tables.RIVERS),
    _ask("Where is {a}?|In which city is {a}?|In what city is {a}?|Which city has {a}?|Tell me where {a} is.|Where can I see {a}?",
         "It is in {b}.", tables.LANDMARKS),
    _ask("What is {a} made of?|What are the makings of {a}?|Of what is {a} made?|{a}: made of what?|Tell me what one needs for {a}.|From what do we get {a}?",
         "From {b}.", tables.MATERIALS),
    _ask("Who {a}?|What is somebody called who {a}?|Name the job of someone who {a}.|Which job has somebody who {a}?|Tell me who {a}.|How do you call a person who {a}?",
         "{b} {a}.", tables.JOBS),
    _ask("How do you spell the number {a}?|Write {a} as a word.|{a} in words|Spell out {a}.|What is {a} in words?|Write the number {a} in words.",
         "{a} is {b}.", _SPELLED),
    _ask("Write {a} in digits.|Which number is {a}?|{a} in digits|What is {a} in digits?|Tell me {a} in digits.|Give me {a} in digits.",
         "{a} is {b}.", _turned(_SPELLED)),
    _ask("What is {a} in Roman numerals?|{a} in Roman numerals|Write {a} as a Roman numeral.|Roman numeral for {a}?|Tell me the Roman numeral of {a}.|How did the Romans write {a}?",
         "{a} is {b}.", ((str(number), roman(number)) for number in range(1, 51))),
    _ask("What number is the Roman numeral {a}?|Which number is {a} in Roman numerals?|Roman numeral {a}|What does the Roman {a} mean?|Tell me what the Roman numeral {a} is.|Read the Roman numeral {a}.",
         "{a} is {b}.", ((roman(number), str(number)) for number in range(1, 51))),
    _ask("What is {a} squared?|{a} squared|Square {a}.|The square of {a}?|Tell me the square of {a}.|What is the square of {a}?",
         "{a} squared is {b}.", ((str(number), str(number * number)) for number in range(1, 26))),
    _ask("What is half of {a}?|half of {a}|Halve {a}.|The half of {a}?|Tell me half of {a}.|How much is half of {a}?",
         "Half of {a} is {b}.", ((str(2 * number), str(number)) for number in range(1, 51))),
    _ask("What is twice {a}?|twice {a}|Double {a}.|The double of {a}?|Tell me twice {a}.|How much is twice {a}?",
         "Twice {a} is {b}.", ((str(number), str(2 * number)) for number in range(1, 51))),
    _ask("What comes after {a} when counting?|Which number follows {a}?|What is the number after {a}?|number after {a}|Tell me the number after {a}.|Count on from {a}.",
         "{b} comes after {a}.", ((str(number), str(number + 1)) for number in range(100))),
    _ask("How is number {a} in a row called?|What is the ordinal of {a}?|ordinal of {a}|Write {a} as an ordinal.|Tell me the ordinal of {a}.|{a} as an ordinal?",
         "{a} becomes {b}.", ((str(number), ordinal(number)) for number in range(1, 32))),
    _ask("Which letter comes after {a}?|What letter follows {a}?|letter after {a}|Which is the next letter after {a}?|Tell me the letter after {a}.|What is the letter after {a}?",
         "{b} comes after {a}.", _following(tables.LETTERS)[:-1]),
    _ask("Which letter comes before {a}?|What letter is before {a}?|letter before {a}|Which is the letter before {a}?|Tell me the letter before {a}.|What is the letter before {a}?",
         "{b} comes before {a}.", _turned(_following(tables.LETTERS)[:-1])),
    _ask("Which letter of the alphabet is number {a}?|letter number {a}|What is letter number {a}?|Tell me letter number {a}.|The letter with the number {a}?|Which letter has place {a}?",
         "Letter {a} is {b}.", ((str(place), letter) for place, letter in enumerate(tables.LETTERS, 1))),
    _ask("Which day comes after {a}?|What day is after {a}?|What day follows {a}?|day after {a}|Tell me the day after {a}.|Which day follows {a}?",
         "{b} comes after {a}.", _following(tables.WEEKDAYS)),
    _ask("Which day comes before {a}?|What day is before {a}?|What day precedes {a}?|day before {a}|Tell me the day before {a}.|Which day precedes {a}?",
         "{b} comes before {a}.", _turned(_following(tables.WEEKDAYS))),
    _ask("Which month comes after {a}?|What month is after {a}?|What month follows {a}?|month after {a}|Tell me the month after {a}.|Which month follows {a}?",
         "{b} comes after {a}.", _following(tables.MONTHS)),
    _ask("Which month comes before {a}?|What month is before {a}?|What month precedes {a}?|month before {a}|Tell me the month before {a}.|Which month precedes {a}?",
         "{b} comes before {a}.", _turned(_following(tables.MONTHS))),
    _ask("Which number has the month {a}?|What number is the month {a}?|number of the month {a}|{a} is which month of the year?|Tell me the number of the month {a}.|Which month of the year is {a}?",
         "{a} is month {b}.", ((month, str(place)) for place, month in enumerate(tables.MONTHS, 1))),
    _ask("{a}?|Tell me: {a}?|{a}|Quick question: {a}?|Do you know {a}?|Please answer: {a}?", "{b}.", tables.QUESTIONS),
)  # fmt: skip
COMPOSED_SHARE = 0.3
CAPITAL_SHARE = 0.08  # they are asked for most
_WEIGHTS = [len(relation.pairs) ** 0.7 for relation in RELATIONS]


def fact(chance: Chance) -> tuple[str, str]:
    """A question and its answer."""
    relation = RELATIONS[0] if chance.maybe(CAPITAL_SHARE) else chance.choices(RELATIONS, weights=_WEIGHTS)[0]
    left, right = chance.choice(relation.pairs)
    question = chance.pick(relation.questions).format(a=left, b=right)
    if chance.part == "train" and chance.maybe(COMPOSED_SHARE):
        question = questioning(chance).format(r=question.rstrip("?."))
    answer = relation.answer.format(a=left, b=right)
    return question[0].upper() + question[1:] if chance.maybe(0.8) else question, answer[0].upper() + answer[1:]


NAMED_THINGS = (0, 1, 2, 3, 4, 5, 28, 29, 30, 32, 33)  # relations of what has a name of its own


def nothing_known(chance: Chance, name: str) -> str:
    """A question of the kind that `fact` asks, about a name that nobody has."""
    return chance.pick(RELATIONS[chance.choice(NAMED_THINGS)].questions).format(a=name, b=name)
