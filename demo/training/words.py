"""Tables of everyday words that the generators choose from. Plain data."""

# ruff: noqa: E501 - tables of phrases

import re
from pydoc_data.topics import topics


def _table(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.replace("\n", " ").split(",") if entry.strip())


CITIES = _table("""Paris, London, Rome, Oslo, Madrid, Berlin, Vienna, Lisbon, Dublin, Prague, Athens, Warsaw, Zurich, Geneva,
Milan, Naples, Venice, Boston, Chicago, Denver, Seattle, Austin, Dallas, Miami, Toronto, Montreal, Tokyo, Kyoto, Osaka,
Beijing, Shanghai, Seoul, Delhi, Mumbai, Sydney, Perth, Cairo, Nairobi, Lagos, Lima, Bogota, Havana, Quito, Santiago,
Helsinki, Stockholm, Copenhagen, Budapest, Brussels, Amsterdam, Hamburg, Munich, Cologne, Lyon, Marseille, Nice, Porto,
Seville, Valencia, Bergen, Krakow, Bristol, Leeds, Glasgow, Cardiff, Oxford, New York, San Francisco, Los Angeles,
Mexico City, Cape Town, Hong Kong, Buenos Aires, Rio de Janeiro, Kuala Lumpur, Tel Aviv, San Diego, Las Vegas, New Delhi,
Bangkok, Manila, Jakarta, Hanoi, Dubai, Doha, Tunis, Riga, Tallinn, Vilnius, Sofia, Belgrade, Zagreb, Turin, Basel""")
COUNTRIES = _table("""France, Germany, Italy, Spain, Portugal, England, Ireland, Norway, Sweden, Denmark, Finland, Poland,
Austria, Hungary, Greece, Turkey, Russia, Egypt, Kenya, Nigeria, Morocco, Japan, China, India, Nepal, Thailand, Vietnam,
Australia, Canada, Mexico, Cuba, Peru, Chile, Argentina, Brazil, Colombia, Belgium, Switzerland, Iceland, New Zealand""")
FIRST_NAMES = _table("""Anna, Ben, Clara, David, Emma, Felix, Grace, Henry, Ida, Jack, Karen, Leo, Maria, Noah, Olivia, Paul,
Quinn, Rosa, Sam, Tina, Umar, Vera, Will, Xena, Yara, Zoe, Alice, Bob, Carol, Dan, Eva, Frank, Gina, Hugo, Iris, James,
Kate, Lucas, Mia, Nina, Oscar, Peter, Ruth, Simon, Tom, Ursula, Victor, Wendy, Amir, Bella, Chen, Diego, Elena, Farid,
Greta, Hana, Ivan, Julia, Kofi, Lena, Marco, Nora, Omar, Priya, Raj, Sofia, Theo, Yuki, Li Wei, John, Mary, Laura, Mark""")
LAST_NAMES = _table("""Smith, Jones, Brown, Miller, Davis, Wilson, Moore, Taylor, Clark, Lewis, Walker, Hall, Young, King,
Wright, Hill, Scott, Green, Adams, Baker, Nelson, Carter, Turner, Parker, Evans, Collins, Stewart, Morris, Rogers, Reed,
Cook, Morgan, Bell, Murphy, Bailey, Cooper, Kelly, Howard, Ward, Cox, Gray, Watson, Brooks, Wood, Bennett, Ross, Long""")
NOUNS = _table("""weather, forecast, flight, hotel, room, ticket, order, invoice, payment, account, balance, report, file,
folder, document, photo, image, video, song, playlist, album, movie, book, article, recipe, restaurant, table, meal, menu,
meeting, event, appointment, calendar, reminder, alarm, timer, task, note, list, message, email, contact, call, bridge,
customer, user, profile, password, session, device, lamp, light, thermostat, door, lock, camera, car, train, bus, taxi,
ride, route, map, distance, address, parcel, shipment, package, product, price, stock, share, coin, loan, tax, salary,
budget, contract, project, issue, branch, server, database, tunnel, query, log, backup, job, patient, doctor, visit,
prescription, course, lesson, grade, exam, student, teacher, game, score, team, player, match, harbour, workout, island,
translation, summary, title, tag, comment, review, rating, vote, survey, area, volume, perimeter, average, sum, root,
power, factorial, speed, force, energy, density, temperature, humidity, currency, rate, interest, discount, coupon,
cart, item, inventory, warehouse, supplier, vehicle, engine, sensor, signal, channel, stream, podcast, station, news,
headline, poll, auction, bid, house, apartment, garden, plant, animal, pet, star, planet, city, country, region, museum,
park, beach, hospital, school, library, market, bank, pharmacy, battery, printer, screen, window, heater, fan, oven,
dish, drink, coffee, pizza, cake, gift, card, badge, certificate, license, passport, visa, domain, website, page, link""")
ADJECTIVES = _table("""daily, weekly, monthly, local, global, public, private, open, active, recent, latest, current, next,
final, total, main, minor, major, quick, slow, fast, full, empty, new, old, small, large, cheap, free, paid, urgent,
safe, secure, hidden, shared, remote, nearby, popular, average, maximum, minimum, upper, lower, inner, outer, first, last""")
THINGS = _table("""apple, bread, chair, drum, eagle, feather, guitar, hammer, island, jacket, kettle, lemon, mirror, needle,
orange, pencil, quilt, rocket, spoon, tiger, umbrella, violin, wallet, yarn, zebra, anchor, basket, candle, diamond, engine,
flower, glove, honey, ink, jewel, kite, ladder, magnet, notebook, onion, pillow, ribbon, saddle, towel, vase, wheel, acorn,
blanket, compass, dragon, falcon, garlic, helmet, iron, lantern, mango, ocean, pepper, rabbit, salad, trumpet, winter""")
TOPICS = _table("""climate change, solar power, jazz music, modern art, space travel, machine learning, healthy food, electric
cars, ancient Rome, world history, wild birds, deep sea fish, mountain climbing, classic films, street food, home repair,
data science, quantum physics, yoga, chess, football, gardening, photography, poetry, travel tips, cloud computing, web
design, open source, human rights, green tea, black holes, stock markets, public health, rain forests, robot ethics""")
SENTENCES = _table("""see you tomorrow, I will be late, the meeting moved to Friday, happy birthday, please call me back, dinner
is ready, thanks for your help, the report is done, good luck today, we are on our way, buy milk and eggs, do not forget
the keys, welcome to the team, the package has arrived, let us meet at noon, the server is down, I love this song, water
the plants, pay the rent, take out the trash, your order has shipped, all tests passed, the door is open, no news yet""")
COLOURS = _table(
    """red, blue, green, yellow, black, white, orange, purple, pink, brown, grey, silver, gold, violet, turquoise"""
)
LANGUAGES = _table("""English, French, German, Spanish, Italian, Chinese, Japanese, Korean, Russian, Arabic, Dutch, Polish,
Swedish, Greek, Turkish, Hindi, Portuguese, Danish""")
WEEKDAYS = _table("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
SERVICES = _table(
    """acme, nova, orbit, zen, hub, cloud, core, smart, home, shop, travel, bank, med, edu, fleet, pulse, atlas"""
)

# Kinds of actions: (words in tool names, how users ask for it, how a description says it).
VERBS: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (("get", "fetch", "read", "show", "retrieve"), ("get", "show me", "look up", "check", "fetch", "give me"), "Gets"),
    (("search", "find", "query", "lookup"), ("search for", "find", "look for", "find me", "search", "hunt for"), "Searches for"),
    (("create", "add", "make", "new"), ("create", "add", "make", "set up", "create me", "prepare"), "Creates"),
    (("delete", "remove", "drop"), ("delete", "remove", "get rid of", "erase", "drop", "clear"), "Deletes"),
    (("update", "change", "edit", "modify"), ("update", "change", "edit", "modify", "adjust", "alter"), "Updates"),
    (("send", "post", "submit"), ("send", "post", "submit", "send out", "send off", "deliver"), "Sends"),
    (("calculate", "compute", "calc"), ("calculate", "compute", "work out", "determine", "figure out", "calculate"), "Calculates"),
    (("book", "reserve"), ("book", "reserve", "book me", "reserve me", "arrange", "secure"), "Books"),
    (("order", "buy", "purchase"), ("order", "buy", "purchase", "order me", "buy me", "get me"), "Orders"),
    (("convert", "transform"), ("convert", "transform", "turn", "translate", "change over", "recode"), "Converts"),
    (("start", "run", "launch"), ("start", "run", "launch", "begin", "fire up", "kick off"), "Starts"),
    (("stop", "cancel", "end"), ("stop", "cancel", "end", "call off", "halt", "abort"), "Stops"),
    (("list", "all"), ("list", "show all", "list all", "enumerate", "give me all", "show every"), "Lists"),
    (("play", "open"), ("play", "open", "put on", "play me", "bring up", "open up"), "Opens"),
    (("track", "monitor", "watch"), ("track", "monitor", "watch", "keep an eye on", "follow", "trace"), "Tracks"),
    (("rate", "score"), ("rate", "score", "judge", "grade", "evaluate", "assess"), "Rates"),
)  # fmt: skip
SYLLABLES = ["ba", "be", "bi", "bo", "da", "de", "di", "do", "fa", "fe", "fi", "ga", "go", "ka", "ke", "ki", "ko", "la", "le", "li", "lo", "ma", "me", "mi", "mo", "na", "ne", "ni", "no", "pa", "pe", "po", "ra", "re", "ri", "ro", "sa", "se", "si", "so", "ta", "te", "ti", "to", "va", "ve", "vi", "vo", "xa", "xe", "za", "ze", "zo", "qua", "tri", "plo", "gru", "ster", "ton", "mar", "del", "vin", "pol", "kan", "tor"]  # fmt: skip

# English words: those of Python's language reference, but for some that join others.
_JOINING = frozenset("also and are for from has have into that the then this using where with".split())  # noqa: SIM905
ENGLISH = tuple(sorted(set(re.findall(r"\b[a-z]{3,10}\b", " ".join(topics.values()))) - _JOINING))
