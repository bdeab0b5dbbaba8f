"""Everyday facts as tables, and how they are asked for. The facts themselves are learnt; only the phrasing is split."""

# ruff: noqa: E501 - tables of phrases

from dataclasses import dataclass

from demo.training.chance import Chance


@dataclass(frozen=True)
class Relation:
    """Pairs (a, b), ways to ask for b given {a}, and the answer."""

    questions: tuple[str, ...]
    answer: str
    pairs: tuple[tuple[str, str], ...]


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    entries = (entry.split(":") for entry in text.replace("\n", " ").split(",") if entry.strip())
    return tuple((left.strip(), right.strip()) for left, right in entries)


CAPITALS = _pairs("""France:Paris, Germany:Berlin, Italy:Rome, Spain:Madrid, Portugal:Lisbon, England:London, Ireland:Dublin,
Norway:Oslo, Sweden:Stockholm, Denmark:Copenhagen, Finland:Helsinki, Poland:Warsaw, Austria:Vienna, Hungary:Budapest,
Greece:Athens, Turkey:Ankara, Russia:Moscow, Ukraine:Kyiv, Egypt:Cairo, Kenya:Nairobi, Nigeria:Abuja, Morocco:Rabat,
Japan:Tokyo, China:Beijing, India:New Delhi, Nepal:Kathmandu, Pakistan:Islamabad, Thailand:Bangkok, Vietnam:Hanoi,
Australia:Canberra, Canada:Ottawa, Mexico:Mexico City, Cuba:Havana, Peru:Lima, Chile:Santiago, Argentina:Buenos Aires,
Brazil:Brasilia, Colombia:Bogota, Belgium:Brussels, Switzerland:Bern, Iceland:Reykjavik, Romania:Bucharest,
Bulgaria:Sofia, Croatia:Zagreb, Serbia:Belgrade, Latvia:Riga, Estonia:Tallinn, Lithuania:Vilnius, Iran:Tehran, Iraq:Baghdad""")
RELATIONS = (
    Relation(("What is the capital of {a}?", "capital of {a}", "Which city is the capital of {a}?", "Tell me the capital of {a}.",
              "What's the capital of {a}?", "Do you know the capital of {a}?", "{a}: capital?", "Name the capital of {a}."),
             "The capital of {a} is {b}.", CAPITALS),
    Relation(("Which country has the capital {a}?", "{a} is the capital of which country?", "What country is {a} the capital of?",
              "{a} is the capital of what?", "Of which country is {a} the capital?", "Which country's capital is {a}?"),
             "{a} is the capital of {b}.", tuple((city, country) for country, city in CAPITALS)),
    Relation(("What is the opposite of {a}?", "opposite of {a}", "What's the opposite of {a}?", "Give me the opposite of {a}.",
              "Tell me the opposite of {a}.", "Name the opposite of {a}.", "Which word is the opposite of {a}?"),
             "The opposite of {a} is {b}.",
             _pairs("""hot:cold, big:small, tall:short, old:young, new:old, fast:slow, hard:soft, light:dark, day:night, up:down,
    left:right, in:out, open:closed, happy:sad, rich:poor, full:empty, early:late, strong:weak, wet:dry, loud:quiet, clean:dirty,
    high:low, near:far, first:last, good:bad, true:false, yes:no, start:end, buy:sell, win:lose, love:hate, push:pull, thick:thin,
    wide:narrow, deep:shallow, heavy:light, cheap:expensive, black:white, before:after, always:never""")),
    Relation(("What colour is {a}?", "What color is {a}?", "Which colour has {a}?", "colour of {a}", "Tell me the colour of {a}.",
              "What is the colour of {a}?", "What's the color of {a}?"),
             "The colour of {a} is {b}.",
             _pairs("""the sky:blue, grass:green, snow:white, blood:red, coal:black, a lemon:yellow, a banana:yellow, a carrot:orange,
    a tomato:red, the sun:yellow, milk:white, a cucumber:green, a strawberry:red, chocolate:brown, the sea:blue, a flamingo:pink,
    a pumpkin:orange, a polar bear:white, a crow:black, an emerald:green, a ruby:red, gold:yellow, ash:grey, a plum:purple""")),
    Relation(("What does a {a} say?", "What sound does a {a} make?", "Which sound does a {a} make?", "How does a {a} sound?",
              "Tell me what a {a} says.", "What noise does a {a} make?", "sound of a {a}"),
             "A {a} says {b}.",
             _pairs("dog:woof, cat:meow, cow:moo, sheep:baa, pig:oink, duck:quack, horse:neigh, lion:roar, bee:buzz, frog:croak, snake:hiss, owl:hoot")),
    Relation(("What is a young {a} called?", "What do you call a baby {a}?", "What is a baby {a} called?", "name for a young {a}",
              "Tell me what a young {a} is called.", "How is a young {a} called?"),
             "A young {a} is called a {b}.",
             _pairs("dog:puppy, cat:kitten, cow:calf, horse:foal, sheep:lamb, pig:piglet, duck:duckling, goose:gosling, bear:cub, frog:tadpole, deer:fawn, goat:kid")),
    Relation(("How many legs does {a} have?", "How many legs has {a}?", "Number of legs of {a}?", "Tell me how many legs {a} has.",
              "legs of {a}", "On how many legs does {a} walk?"),
             "It has {b} legs.",
             _pairs("a dog:4, a cat:4, a spider:8, an ant:6, a bird:2, a bee:6, a horse:4, a human:2, a crab:10, a snake:0, a cow:4, a chicken:2")),
    Relation(("Which day comes after {a}?", "What day is after {a}?", "What day follows {a}?", "day after {a}", "Tell me the day after {a}.",
              "Which day follows {a}?"),
             "{b} comes after {a}.",
             _pairs("Monday:Tuesday, Tuesday:Wednesday, Wednesday:Thursday, Thursday:Friday, Friday:Saturday, Saturday:Sunday, Sunday:Monday")),
    Relation(("Which month comes after {a}?", "What month is after {a}?", "What month follows {a}?", "month after {a}",
              "Tell me the month after {a}.", "Which month follows {a}?"),
             "{b} comes after {a}.",
             _pairs("""January:February, February:March, March:April, April:May, May:June, June:July, July:August, August:September,
    September:October, October:November, November:December, December:January""")),
    Relation(("On which continent is {a}?", "Which continent is {a} in?", "What continent is {a} on?", "continent of {a}",
              "Tell me the continent of {a}.", "Where in the world is {a}?", "In which part of the world is {a}?"),
             "{a} is in {b}.",
             _pairs("""France:Europe, Germany:Europe, Italy:Europe, Spain:Europe, Norway:Europe, Poland:Europe, Greece:Europe, Egypt:Africa,
    Kenya:Africa, Nigeria:Africa, Morocco:Africa, Japan:Asia, China:Asia, India:Asia, Nepal:Asia, Thailand:Asia, Vietnam:Asia,
    Canada:North America, Mexico:North America, Cuba:North America, Peru:South America, Chile:South America, Brazil:South America,
    Argentina:South America, Sweden:Europe, Portugal:Europe, Pakistan:Asia, Colombia:South America""")),
    Relation(("What is the chemical symbol of {a}?", "chemical symbol of {a}", "What's the symbol for {a}?", "Symbol of {a}?",
              "Tell me the chemical symbol of {a}.", "Which symbol stands for {a}?"),
             "The symbol of {a} is {b}.",
             _pairs("""hydrogen:H, helium:He, carbon:C, nitrogen:N, oxygen:O, sodium:Na, iron:Fe, copper:Cu, silver:Ag, gold:Au, lead:Pb,
    tin:Sn, zinc:Zn, sulfur:S, calcium:Ca, chlorine:Cl""")),
    Relation(("What is the plural of {a}?", "plural of {a}", "What's the plural of {a}?", "Give me the plural of {a}.", "Tell me the plural of {a}.",
              "Which is the plural of {a}?"),
             "The plural of {a} is {b}.",
             _pairs("""mouse:mice, child:children, man:men, woman:women, foot:feet, tooth:teeth, goose:geese, person:people, leaf:leaves,
    wolf:wolves, city:cities, box:boxes, cat:cats, dog:dogs, house:houses, knife:knives""")),
    Relation(("What currency is used in {a}?", "currency of {a}", "Which currency does {a} use?", "What money do they use in {a}?",
              "Tell me the currency of {a}.", "With what does one pay in {a}?"),
             "The currency of {a} is the {b}.",
             _pairs("""France:euro, Germany:euro, Italy:euro, Spain:euro, England:pound, Japan:yen, China:yuan, India:rupee, Russia:ruble,
    Canada:Canadian dollar, Australia:Australian dollar, Mexico:peso, Switzerland:franc, Poland:zloty, Sweden:krona, Norway:krone""")),
    Relation(("Which language is spoken in {a}?", "What language do they speak in {a}?", "language of {a}", "What do people speak in {a}?",
              "Tell me the language of {a}.", "What is the language of {a}?"),
             "People in {a} speak {b}.",
             _pairs("""France:French, Germany:German, Italy:Italian, Spain:Spanish, England:English, Japan:Japanese, China:Chinese, Russia:Russian,
    Brazil:Portuguese, Mexico:Spanish, Greece:Greek, Turkey:Turkish, Poland:Polish, Sweden:Swedish, Austria:German, Egypt:Arabic""")),
    Relation(("How do you say {a} in French?", "What is {a} in French?", "{a} in French", "Translate {a} to French.", "French for {a}?",
              "What's the French word for {a}?"),
             "{a} in French is {b}.",
             _pairs("""hello:bonjour, thanks:merci, water:eau, bread:pain, house:maison, cat:chat, dog:chien, red:rouge, blue:bleu, yes:oui, no:non,
    good:bon, day:jour, night:nuit, milk:lait, friend:ami, book:livre, tree:arbre""")),
    Relation(("{a}?", "Tell me: {a}?", "{a}", "Quick question: {a}?", "Do you know {a}?", "Please answer: {a}?"),
             "{b}.",
             _pairs("""how many days are in a week:Seven, how many months are in a year:Twelve, how many hours are in a day:Twenty-four,
    how many minutes are in an hour:Sixty, how many seconds are in a minute:Sixty, how many days are in a year:365,
    how many centimetres are in a metre:One hundred, how many metres are in a kilometre:One thousand, how many grams are in a kilogram:One thousand,
    where is K2:In the Karakoram, how high is K2:8611 metres,
    who was the Duke of the Abruzzi:An Italian climber, which planet is closest to the sun:Mercury, which planet is the largest:Jupiter, which planet is the red planet:Mars, what is the largest ocean:The Pacific,
    what is the highest mountain:Mount Everest, what is the second highest mountain:K2, what is the longest river in Africa:The Nile, who painted the Mona Lisa:Leonardo da Vinci,
    who wrote Hamlet:William Shakespeare, who wrote Faust:Goethe, who discovered gravity:Isaac Newton, who developed relativity:Albert Einstein,
    what do bees make:Honey, what do cows give:Milk, what is frozen water:Ice, at what temperature does water boil:100 degrees Celsius,
    at what temperature does water freeze:0 degrees Celsius, how many continents are there:Seven, how many sides has a triangle:Three,
    how many sides has a square:Four, what is the largest animal:The blue whale, what is the fastest land animal:The cheetah,
    what is the tallest animal:The giraffe, what is the first letter of the alphabet:A, what is the last letter of the alphabet:Z""")),
)  # fmt: skip


def fact(chance: Chance) -> tuple[str, str]:
    """A question and its answer."""
    relation = RELATIONS[0] if chance.maybe(0.2) else chance.choice(RELATIONS)  # capitals are asked for most
    left, right = chance.choice(relation.pairs)
    question = chance.pick(relation.questions).format(a=left, b=right)
    answer = relation.answer.format(a=left, b=right)
    return question[0].upper() + question[1:] if chance.maybe(0.8) else question, answer[0].upper() + answer[1:]
