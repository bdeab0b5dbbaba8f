"""Everyday facts. Plain data."""

# ruff: noqa: E501 - tables


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Reads "left:right, left:right"."""
    entries = (entry.split(":") for entry in text.replace("\n", " ").split(",") if entry.strip())
    return tuple((left.strip(), right.strip()) for left, right in entries)


def columns(text: str) -> tuple[tuple[str, ...], ...]:
    """Reads a line for each row, its columns between colons."""
    return tuple(tuple(part.strip() for part in line.split(":")) for line in text.strip().splitlines())


# country : capital : continent : currency : language
COUNTRIES = columns("""
France:Paris:Europe:euro:French
Germany:Berlin:Europe:euro:German
Italy:Rome:Europe:euro:Italian
Spain:Madrid:Europe:euro:Spanish
Portugal:Lisbon:Europe:euro:Portuguese
England:London:Europe:pound:English
Ireland:Dublin:Europe:euro:English
Norway:Oslo:Europe:Norwegian krone:Norwegian
Sweden:Stockholm:Europe:Swedish krona:Swedish
Denmark:Copenhagen:Europe:Danish krone:Danish
Finland:Helsinki:Europe:euro:Finnish
Iceland:Reykjavik:Europe:Icelandic krona:Icelandic
Poland:Warsaw:Europe:zloty:Polish
Austria:Vienna:Europe:euro:German
Hungary:Budapest:Europe:forint:Hungarian
Greece:Athens:Europe:euro:Greek
Turkey:Ankara:Asia:lira:Turkish
Russia:Moscow:Europe:ruble:Russian
Ukraine:Kyiv:Europe:hryvnia:Ukrainian
Belarus:Minsk:Europe:Belarusian ruble:Belarusian
Belgium:Brussels:Europe:euro:Dutch
Switzerland:Bern:Europe:Swiss franc:German
Luxembourg:Luxembourg City:Europe:euro:Luxembourgish
Monaco:Monaco:Europe:euro:French
Malta:Valletta:Europe:euro:Maltese
Cyprus:Nicosia:Europe:euro:Greek
Romania:Bucharest:Europe:leu:Romanian
Moldova:Chisinau:Europe:Moldovan leu:Romanian
Bulgaria:Sofia:Europe:lev:Bulgarian
Croatia:Zagreb:Europe:euro:Croatian
Slovenia:Ljubljana:Europe:euro:Slovene
Slovakia:Bratislava:Europe:euro:Slovak
Czechia:Prague:Europe:koruna:Czech
Serbia:Belgrade:Europe:dinar:Serbian
Albania:Tirana:Europe:lek:Albanian
Montenegro:Podgorica:Europe:euro:Montenegrin
Latvia:Riga:Europe:euro:Latvian
Estonia:Tallinn:Europe:euro:Estonian
Lithuania:Vilnius:Europe:euro:Lithuanian
Egypt:Cairo:Africa:Egyptian pound:Arabic
Libya:Tripoli:Africa:Libyan dinar:Arabic
Tunisia:Tunis:Africa:Tunisian dinar:Arabic
Algeria:Algiers:Africa:Algerian dinar:Arabic
Morocco:Rabat:Africa:Moroccan dirham:Arabic
Sudan:Khartoum:Africa:Sudanese pound:Arabic
Ethiopia:Addis Ababa:Africa:birr:Amharic
Kenya:Nairobi:Africa:Kenyan shilling:Swahili
Tanzania:Dodoma:Africa:Tanzanian shilling:Swahili
Uganda:Kampala:Africa:Ugandan shilling:English
Rwanda:Kigali:Africa:Rwandan franc:Kinyarwanda
Nigeria:Abuja:Africa:naira:English
Ghana:Accra:Africa:cedi:English
Senegal:Dakar:Africa:CFA franc:French
Mali:Bamako:Africa:CFA franc:French
Cameroon:Yaounde:Africa:CFA franc:French
Gabon:Libreville:Africa:CFA franc:French
Angola:Luanda:Africa:kwanza:Portuguese
Zambia:Lusaka:Africa:Zambian kwacha:English
Zimbabwe:Harare:Africa:Zimbabwe dollar:English
Malawi:Lilongwe:Africa:Malawian kwacha:English
Mozambique:Maputo:Africa:metical:Portuguese
Namibia:Windhoek:Africa:Namibian dollar:English
Botswana:Gaborone:Africa:pula:English
South Africa:Pretoria:Africa:rand:Zulu
Madagascar:Antananarivo:Africa:ariary:Malagasy
Somalia:Mogadishu:Africa:Somali shilling:Somali
Japan:Tokyo:Asia:yen:Japanese
China:Beijing:Asia:yuan:Chinese
Mongolia:Ulaanbaatar:Asia:tugrik:Mongolian
South Korea:Seoul:Asia:won:Korean
North Korea:Pyongyang:Asia:North Korean won:Korean
India:New Delhi:Asia:rupee:Hindi
Nepal:Kathmandu:Asia:Nepalese rupee:Nepali
Bhutan:Thimphu:Asia:ngultrum:Dzongkha
Bangladesh:Dhaka:Asia:taka:Bengali
Pakistan:Islamabad:Asia:Pakistani rupee:Urdu
Afghanistan:Kabul:Asia:afghani:Pashto
Iran:Tehran:Asia:rial:Persian
Iraq:Baghdad:Asia:Iraqi dinar:Arabic
Syria:Damascus:Asia:Syrian pound:Arabic
Lebanon:Beirut:Asia:Lebanese pound:Arabic
Jordan:Amman:Asia:Jordanian dinar:Arabic
Israel:Jerusalem:Asia:shekel:Hebrew
Saudi Arabia:Riyadh:Asia:riyal:Arabic
Yemen:Sanaa:Asia:Yemeni rial:Arabic
Oman:Muscat:Asia:Omani rial:Arabic
Qatar:Doha:Asia:Qatari riyal:Arabic
Kuwait:Kuwait City:Asia:Kuwaiti dinar:Arabic
Kazakhstan:Astana:Asia:tenge:Kazakh
Uzbekistan:Tashkent:Asia:som:Uzbek
Georgia:Tbilisi:Asia:lari:Georgian
Armenia:Yerevan:Asia:dram:Armenian
Azerbaijan:Baku:Asia:manat:Azerbaijani
Sri Lanka:Colombo:Asia:Sri Lankan rupee:Sinhala
Thailand:Bangkok:Asia:baht:Thai
Vietnam:Hanoi:Asia:dong:Vietnamese
Laos:Vientiane:Asia:kip:Lao
Cambodia:Phnom Penh:Asia:riel:Khmer
Myanmar:Naypyidaw:Asia:kyat:Burmese
Malaysia:Kuala Lumpur:Asia:ringgit:Malay
Singapore:Singapore:Asia:Singapore dollar:English
Indonesia:Jakarta:Asia:rupiah:Indonesian
Philippines:Manila:Asia:Philippine peso:Filipino
Australia:Canberra:Oceania:Australian dollar:English
New Zealand:Wellington:Oceania:New Zealand dollar:English
Fiji:Suva:Oceania:Fijian dollar:English
Canada:Ottawa:North America:Canadian dollar:English
Mexico:Mexico City:North America:Mexican peso:Spanish
Guatemala:Guatemala City:North America:quetzal:Spanish
Honduras:Tegucigalpa:North America:lempira:Spanish
Nicaragua:Managua:North America:cordoba:Spanish
Costa Rica:San Jose:North America:colon:Spanish
Panama:Panama City:North America:balboa:Spanish
Cuba:Havana:North America:Cuban peso:Spanish
Jamaica:Kingston:North America:Jamaican dollar:English
Haiti:Port-au-Prince:North America:gourde:French
Peru:Lima:South America:sol:Spanish
Chile:Santiago:South America:Chilean peso:Spanish
Argentina:Buenos Aires:South America:Argentine peso:Spanish
Brazil:Brasilia:South America:real:Portuguese
Colombia:Bogota:South America:Colombian peso:Spanish
Venezuela:Caracas:South America:bolivar:Spanish
Ecuador:Quito:South America:US dollar:Spanish
Bolivia:Sucre:South America:boliviano:Spanish
Paraguay:Asuncion:South America:guarani:Spanish
Uruguay:Montevideo:South America:Uruguayan peso:Spanish
""")

# state of the USA : capital : letters
STATES = columns("""
Alabama:Montgomery:AL
Alaska:Juneau:AK
Arizona:Phoenix:AZ
Arkansas:Little Rock:AR
California:Sacramento:CA
Colorado:Denver:CO
Connecticut:Hartford:CT
Delaware:Dover:DE
Florida:Tallahassee:FL
Hawaii:Honolulu:HI
Idaho:Boise:ID
Illinois:Springfield:IL
Indiana:Indianapolis:IN
Iowa:Des Moines:IA
Kansas:Topeka:KS
Kentucky:Frankfort:KY
Louisiana:Baton Rouge:LA
Maine:Augusta:ME
Maryland:Annapolis:MD
Massachusetts:Boston:MA
Michigan:Lansing:MI
Minnesota:Saint Paul:MN
Mississippi:Jackson:MS
Missouri:Jefferson City:MO
Montana:Helena:MT
Nebraska:Lincoln:NE
Nevada:Carson City:NV
New Hampshire:Concord:NH
New Jersey:Trenton:NJ
New Mexico:Santa Fe:NM
New York:Albany:NY
North Carolina:Raleigh:NC
North Dakota:Bismarck:ND
Ohio:Columbus:OH
Oklahoma:Oklahoma City:OK
Oregon:Salem:OR
Pennsylvania:Harrisburg:PA
Rhode Island:Providence:RI
South Carolina:Columbia:SC
South Dakota:Pierre:SD
Tennessee:Nashville:TN
Texas:Austin:TX
Utah:Salt Lake City:UT
Vermont:Montpelier:VT
Virginia:Richmond:VA
Washington:Olympia:WA
West Virginia:Charleston:WV
Wisconsin:Madison:WI
Wyoming:Cheyenne:WY
""")

# element : symbol, in the order of their numbers
ELEMENTS = pairs("""hydrogen:H, helium:He, lithium:Li, beryllium:Be, boron:B, carbon:C, nitrogen:N, oxygen:O, fluorine:F, neon:Ne,
sodium:Na, magnesium:Mg, aluminium:Al, silicon:Si, phosphorus:P, sulfur:S, chlorine:Cl, argon:Ar, potassium:K, calcium:Ca, scandium:Sc,
titanium:Ti, vanadium:V, chromium:Cr, manganese:Mn, iron:Fe, cobalt:Co, nickel:Ni, copper:Cu, zinc:Zn, gallium:Ga, germanium:Ge, arsenic:As,
selenium:Se, bromine:Br, krypton:Kr, rubidium:Rb, strontium:Sr, yttrium:Y, zirconium:Zr, niobium:Nb, molybdenum:Mo, technetium:Tc,
ruthenium:Ru, rhodium:Rh, palladium:Pd, silver:Ag, cadmium:Cd, indium:In, tin:Sn, antimony:Sb, tellurium:Te, iodine:I, xenon:Xe, caesium:Cs,
barium:Ba""")
MORE_SYMBOLS = pairs(
    "tungsten:W, platinum:Pt, gold:Au, mercury:Hg, lead:Pb, bismuth:Bi, radon:Rn, radium:Ra, uranium:U, plutonium:Pu"
)

# verb : past : participle
VERBS = columns("""
go:went:gone
see:saw:seen
eat:ate:eaten
drink:drank:drunk
give:gave:given
take:took:taken
make:made:made
come:came:come
know:knew:known
think:thought:thought
find:found:found
tell:told:told
say:said:said
get:got:got
leave:left:left
feel:felt:felt
bring:brought:brought
begin:began:begun
keep:kept:kept
hold:held:held
write:wrote:written
stand:stood:stood
hear:heard:heard
run:ran:run
meet:met:met
pay:paid:paid
sit:sat:sat
speak:spoke:spoken
lie:lay:lain
lead:led:led
grow:grew:grown
lose:lost:lost
fall:fell:fallen
send:sent:sent
build:built:built
understand:understood:understood
draw:drew:drawn
break:broke:broken
spend:spent:spent
rise:rose:risen
drive:drove:driven
buy:bought:bought
wear:wore:worn
choose:chose:chosen
sing:sang:sung
swim:swam:swum
fly:flew:flown
forget:forgot:forgotten
catch:caught:caught
teach:taught:taught
sleep:slept:slept
win:won:won
throw:threw:thrown
ring:rang:rung
hide:hid:hidden
steal:stole:stolen
shake:shook:shaken
freeze:froze:frozen
bite:bit:bitten
blow:blew:blown
wake:woke:woken
fight:fought:fought
sell:sold:sold
ride:rode:ridden
be:was:been
do:did:done
have:had:had
become:became:become
""")

OPPOSITES = pairs("""hot:cold, big:small, tall:short, old:young, fast:slow, hard:soft, light:dark, day:night, up:down,
left:right, in:out, open:closed, happy:sad, rich:poor, full:empty, early:late, strong:weak, wet:dry, loud:quiet, clean:dirty,
high:low, near:far, first:last, good:bad, true:false, yes:no, start:end, buy:sell, win:lose, love:hate, push:pull, thick:thin,
wide:narrow, deep:shallow, cheap:expensive, black:white, before:after, always:never, alive:dead, asleep:awake, best:worst,
brave:afraid, bright:dim, broken:whole, front:back, give:take, inside:outside, kind:cruel, long:brief, male:female,
more:less, north:south, east:west, peace:war, question:answer, remember:forget, rough:smooth, safe:dangerous, same:different,
sharp:blunt, simple:difficult, sweet:sour, tight:loose, top:bottom, truth:lie, under:over, victory:defeat, visible:hidden,
wild:tame, with:without, guilty:innocent, find:lose, laugh:cry, arrive:leave, attack:defend, polite:rude, summer:winter""")

PLURALS = pairs("""mouse:mice, child:children, man:men, woman:women, foot:feet, tooth:teeth, goose:geese, person:people, leaf:leaves,
wolf:wolves, city:cities, box:boxes, cat:cats, dog:dogs, house:houses, knife:knives, wife:wives, life:lives, half:halves, shelf:shelves,
thief:thieves, loaf:loaves, baby:babies, lady:ladies, story:stories, country:countries, berry:berries, fox:foxes, bus:buses, glass:glasses,
dish:dishes, watch:watches, potato:potatoes, tomato:tomatoes, hero:heroes, ox:oxen, sheep:sheep, fish:fish, deer:deer, day:days, key:keys,
toy:toys, book:books, tree:trees, car:cars, brush:brushes, church:churches, kiss:kisses, party:parties, family:families""")

# English : French : Spanish : German
WORDS = columns("""
hello:bonjour:hola:hallo
thanks:merci:gracias:danke
yes:oui:si:ja
no:non:no:nein
water:eau:agua:Wasser
bread:pain:pan:Brot
milk:lait:leche:Milch
house:maison:casa:Haus
cat:chat:gato:Katze
dog:chien:perro:Hund
horse:cheval:caballo:Pferd
bird:oiseau:pajaro:Vogel
fish:poisson:pez:Fisch
red:rouge:rojo:rot
blue:bleu:azul:blau
green:vert:verde:gruen
white:blanc:blanco:weiss
black:noir:negro:schwarz
yellow:jaune:amarillo:gelb
good:bon:bueno:gut
bad:mauvais:malo:schlecht
big:grand:grande:gross
small:petit:pequeno:klein
new:nouveau:nuevo:neu
old:vieux:viejo:alt
day:jour:dia:Tag
night:nuit:noche:Nacht
friend:ami:amigo:Freund
book:livre:libro:Buch
tree:arbre:arbol:Baum
sun:soleil:sol:Sonne
moon:lune:luna:Mond
star:etoile:estrella:Stern
sea:mer:mar:Meer
mountain:montagne:montana:Berg
city:ville:ciudad:Stadt
street:rue:calle:Strasse
door:porte:puerta:Tuer
window:fenetre:ventana:Fenster
table:table:mesa:Tisch
apple:pomme:manzana:Apfel
cheese:fromage:queso:Kaese
wine:vin:vino:Wein
egg:oeuf:huevo:Ei
hand:main:mano:Hand
eye:oeil:ojo:Auge
head:tete:cabeza:Kopf
heart:coeur:corazon:Herz
father:pere:padre:Vater
mother:mere:madre:Mutter
brother:frere:hermano:Bruder
sister:soeur:hermana:Schwester
son:fils:hijo:Sohn
child:enfant:nino:Kind
man:homme:hombre:Mann
woman:femme:mujer:Frau
one:un:uno:eins
two:deux:dos:zwei
three:trois:tres:drei
four:quatre:cuatro:vier
five:cinq:cinco:fuenf
ten:dix:diez:zehn
school:ecole:escuela:Schule
train:train:tren:Zug
time:temps:tiempo:Zeit
year:an:ano:Jahr
today:aujourd'hui:hoy:heute
tomorrow:demain:manana:morgen
love:amour:amor:Liebe
life:vie:vida:Leben
""")

COLOURS = pairs("""the sky:blue, grass:green, snow:white, blood:red, coal:black, a lemon:yellow, a banana:yellow, a carrot:orange,
a tomato:red, the sun:yellow, milk:white, a cucumber:green, a strawberry:red, chocolate:brown, the sea:blue, a flamingo:pink,
a pumpkin:orange, a polar bear:white, a crow:black, an emerald:green, a ruby:red, gold:yellow, ash:grey, a plum:purple, a frog:green,
an elephant:grey, a cherry:red, salt:white, soot:black, an orange:orange, a sapphire:blue, a lime:green, a pig:pink, butter:yellow,
spinach:green, coffee:brown, rice:white, a swan:white, a raven:black, mustard:yellow""")
SOUNDS = pairs("""dog:woof, cat:meow, cow:moo, sheep:baa, pig:oink, duck:quack, horse:neigh, lion:roar, bee:buzz, frog:croak, snake:hiss,
owl:hoot, mouse:squeak, rooster:cock-a-doodle-doo, hen:cluck, donkey:hee-haw, wolf:howl, crow:caw, dove:coo, bird:tweet""")
YOUNG = pairs("""dog:puppy, cat:kitten, cow:calf, horse:foal, sheep:lamb, pig:piglet, duck:duckling, goose:gosling, bear:cub, frog:tadpole,
deer:fawn, goat:kid, hen:chick, kangaroo:joey, swan:cygnet, hare:leveret, owl:owlet, eagle:eaglet, seal:pup, butterfly:caterpillar""")
LEGS = pairs("""a dog:4, a cat:4, a spider:8, an ant:6, a bird:2, a bee:6, a horse:4, a human:2, a crab:10, a snake:0, a cow:4, a chicken:2,
a lion:4, a butterfly:6, a duck:2, a fish:0, a frog:4, a scorpion:8, a pig:4, a worm:0, a table:4, a fly:6, a goat:4, a penguin:2""")
CLASSES = pairs("""dog:mammal, cat:mammal, whale:mammal, dolphin:mammal, bat:mammal, horse:mammal, elephant:mammal, eagle:bird, penguin:bird,
owl:bird, ostrich:bird, sparrow:bird, shark:fish, salmon:fish, tuna:fish, trout:fish, frog:amphibian, toad:amphibian, newt:amphibian,
snake:reptile, lizard:reptile, crocodile:reptile, turtle:reptile, ant:insect, bee:insect, butterfly:insect, beetle:insect, mosquito:insect""")
HOMES = pairs("""bee:hive, bird:nest, dog:kennel, lion:den, rabbit:burrow, spider:web, horse:stable, ant:anthill, pig:sty, beaver:lodge,
cow:barn, fox:earth, hen:coop, eagle:eyrie""")

AUTHORS = pairs("""Hamlet:William Shakespeare, Macbeth:William Shakespeare, Romeo and Juliet:William Shakespeare, Faust:Goethe,
Don Quixote:Miguel de Cervantes, War and Peace:Leo Tolstoy, Anna Karenina:Leo Tolstoy, Crime and Punishment:Fyodor Dostoevsky, The Odyssey:Homer,
The Iliad:Homer, The Divine Comedy:Dante, Oliver Twist:Charles Dickens, David Copperfield:Charles Dickens, Emma:Jane Austen,
Pride and Prejudice:Jane Austen, Moby Dick:Herman Melville, Frankenstein:Mary Shelley, Dracula:Bram Stoker, The Hobbit:J. R. R. Tolkien,
Animal Farm:George Orwell, Les Miserables:Victor Hugo, The Trial:Franz Kafka, Ulysses:James Joyce, Robinson Crusoe:Daniel Defoe,
Treasure Island:Robert Louis Stevenson, Peter Pan:J. M. Barrie, Pinocchio:Carlo Collodi, The Little Prince:Antoine de Saint-Exupery,
Jane Eyre:Charlotte Bronte, Wuthering Heights:Emily Bronte, The Time Machine:H. G. Wells, The Jungle Book:Rudyard Kipling,
The Three Musketeers:Alexandre Dumas, Candide:Voltaire, Walden:Henry David Thoreau, The Raven:Edgar Allan Poe, The Stranger:Albert Camus""")
PAINTERS = pairs("""the Mona Lisa:Leonardo da Vinci, The Last Supper:Leonardo da Vinci, The Starry Night:Vincent van Gogh, Sunflowers:Vincent van Gogh,
Guernica:Pablo Picasso, The Scream:Edvard Munch, The Night Watch:Rembrandt, Water Lilies:Claude Monet, The Kiss:Gustav Klimt,
The Birth of Venus:Sandro Botticelli, Girl with a Pearl Earring:Johannes Vermeer, The Great Wave:Hokusai""")
COMPOSERS = pairs("""The Magic Flute:Mozart, The Four Seasons:Vivaldi, Swan Lake:Tchaikovsky, The Nutcracker:Tchaikovsky, Aida:Verdi, Carmen:Bizet,
Tosca:Puccini, Messiah:Handel, Fidelio:Beethoven, Bolero:Ravel, Peer Gynt:Grieg, The Ring:Wagner, The Planets:Holst""")
INVENTORS = pairs("""the telephone:Alexander Graham Bell, the light bulb:Thomas Edison, the printing press:Johannes Gutenberg, dynamite:Alfred Nobel,
the World Wide Web:Tim Berners-Lee, the radio:Guglielmo Marconi, the airplane:the Wright brothers, the steam engine:James Watt,
the battery:Alessandro Volta, the lightning rod:Benjamin Franklin, penicillin:Alexander Fleming, the diesel engine:Rudolf Diesel,
relativity:Albert Einstein, gravity:Isaac Newton, radium:Marie Curie, evolution:Charles Darwin, the periodic table:Dmitri Mendeleev,
Linux:Linus Torvalds, Python:Guido van Rossum, the saxophone:Adolphe Sax, the telegraph:Samuel Morse""")
RIVERS = pairs("""London:Thames, Paris:Seine, Rome:Tiber, Cairo:Nile, Vienna:Danube, Budapest:Danube, Prague:Vltava, Cologne:Rhine, Hamburg:Elbe,
Florence:Arno, Lyon:Rhone, Baghdad:Tigris, New Orleans:Mississippi, Shanghai:Huangpu, Lisbon:Tagus, Warsaw:Vistula""")
LANDMARKS = pairs("""the Eiffel Tower:Paris, Big Ben:London, the Colosseum:Rome, the Statue of Liberty:New York, the Kremlin:Moscow, the Acropolis:Athens,
the Prado:Madrid, the Louvre:Paris, the Brandenburg Gate:Berlin, the Golden Gate Bridge:San Francisco, the Little Mermaid:Copenhagen,
the Opera House with the white shells:Sydney, Hagia Sophia:Istanbul, the Alhambra:Granada, the White House:Washington,
the Forbidden City:Beijing, the Taj Mahal:Agra, the Burj Khalifa:Dubai, the Rijksmuseum:Amsterdam, the Sagrada Familia:Barcelona""")
MATERIALS = pairs("""bread:flour, wine:grapes, cheese:milk, paper:wood, glass:sand, butter:milk, beer:barley, chocolate:cocoa, steel:iron, wool:sheep hair,
candles:wax, tofu:soybeans, raisins:grapes, cider:apples, yogurt:milk, linen:flax, bricks:clay, sushi:rice, tires:rubber, pasta:wheat""")
JOBS = pairs("""bakes bread:A baker, teaches children:A teacher, heals the sick:A doctor, flies a plane:A pilot, cuts hair:A barber, puts out fires:A firefighter,
repairs cars:A mechanic, catches fish:A fisherman, grows crops:A farmer, writes books:An author, paints pictures:A painter, sells meat:A butcher,
designs houses:An architect, makes clothes:A tailor, drives a bus:A bus driver, looks after teeth:A dentist, delivers letters:A postman,
cooks in a restaurant:A chef, studies the stars:An astronomer, keeps bees:A beekeeper, repairs pipes:A plumber, takes photos:A photographer""")
QUESTIONS = pairs("""how many days are in a week:Seven, how many months are in a year:Twelve, how many hours are in a day:Twenty-four,
how many minutes are in an hour:Sixty, how many seconds are in a minute:Sixty, how many days are in a year:365,
how many centimetres are in a metre:One hundred, how many metres are in a kilometre:One thousand, how many grams are in a kilogram:One thousand,
where is K2:In the Karakoram, how high is K2:8611 metres,
who was the Duke of the Abruzzi:An Italian climber, which planet is closest to the sun:Mercury, which planet is the largest:Jupiter, which planet is the red planet:Mars, what is the largest ocean:The Pacific,
what is the highest mountain:Mount Everest, what is the second highest mountain:K2, what is the longest river in Africa:The Nile,
what do bees make:Honey, what do cows give:Milk, what is frozen water:Ice, at what temperature does water boil:100 degrees Celsius,
at what temperature does water freeze:0 degrees Celsius, how many continents are there:Seven, how many sides has a triangle:Three,
how many sides has a square:Four, what is the largest animal:The blue whale, what is the fastest land animal:The cheetah,
what is the tallest animal:The giraffe, what is the first letter of the alphabet:A, what is the last letter of the alphabet:Z,
how many sides has a pentagon:Five, how many sides has a hexagon:Six, how many sides has an octagon:Eight, how many letters are in the alphabet:Twenty-six,
how many legs has an insect:Six, how many planets are there:Eight, which planet has rings:Saturn, what is the largest desert:Antarctica,
what is the largest continent:Asia, what is the smallest continent:Australia, what is the largest country:Russia, what is the smallest country:Vatican City,
what do plants need to grow:Light and water, what gas do we breathe:Oxygen, what is the hardest natural material:Diamond, how many strings has a violin:Four,
how many strings has a guitar:Six, how many players has a football team:Eleven, how many cards are in a deck:Fifty-two, how many squares has a chessboard:Sixty-four,
what comes after winter:Spring, what comes after spring:Summer, what comes after summer:Autumn, what comes after autumn:Winter,
how many years are in a century:One hundred, how many years are in a decade:Ten, how many items are in a dozen:Twelve, how many weeks are in a year:Fifty-two,
what is the chemical formula of water:H2O, what is the chemical formula of salt:NaCl, how many bits are in a byte:Eight,
which animal is the king of the beasts:The lion, which metal is liquid:Mercury, which bird cannot fly:The penguin, which animal has a trunk:The elephant,
what is the opposite of north:South, where do penguins live:In Antarctica, where do kangaroos live:In Australia, where do polar bears live:In the Arctic,
who was the first man on the moon:Neil Armstrong, who was the first man in space:Yuri Gagarin, in which year did men land on the moon:1969,
in which year did the First World War begin:1914, in which year did the Second World War end:1945, in which year did the Berlin Wall fall:1989,
who first climbed Mount Everest:Edmund Hillary and Tenzing Norgay, in which year was K2 first climbed:1954""")

NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905
MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905
