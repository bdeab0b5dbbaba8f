"""Tools as people really write them, beside the invented ones: one line each.

    what it is about | names | descriptions | heads of requests | parameters

A head begins a request, the parameters' phrases follow. Every sixth head is held out. A parameter is `name:kind`, `!`
if required, its description, then phrases for its value.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """A parameter of a domain's tool; `kind` names a maker of values in demo.training.tools, or lists the choices."""

    name: str
    kind: str
    required: bool
    description: str
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Domain:
    """A tool with the ways of asking for it."""

    about: str
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    heads: tuple[str, ...]
    parameters: tuple[Parameter, ...]


_LINES = """
weather temperature forecast | get_weather, get_current_weather, weather, fetch_weather, current_weather | Get the current weather in a given location; Get the weather for a city; Returns the weather; Current weather of a place | what is the weather; what's the weather like; how is the weather; get the weather; show me the weather; tell me the weather; check the weather; what is the temperature; is it raining; how warm is it; weather; I need the weather | location:city! The city, e.g. San Francisco: in {v}, for {v} ~ unit:celsius/fahrenheit The unit: in {v}
forecast weather | get_forecast, weather_forecast, forecast, get_weather_forecast | Weather forecast for a city and a number of days; Get the forecast for the coming days | what is the forecast; give me the forecast; get the weather forecast; how will the weather be; show the forecast; what will the weather be like | city:city! City name: for {v}, in {v} ~ days:small! Number of days: for {v} days, for the next {v} days
flight trip fly | search_flights, find_flights, flight_search, book_flight | Search flights between two cities; Finds flights; Book a flight | find a flight; book a flight; search flights; I need a flight; show me flights; look for flights; book me a flight | origin:city! City of departure: from {v} ~ destination:city! City of arrival: to {v} ~ date:date Travel date: on {v}, for {v}
hotel room stay | book_hotel, find_hotel, hotel_search, reserve_hotel | Book a hotel in a city; Finds hotels; Reserve a hotel room | book a hotel; find me a hotel; reserve a hotel room; look for a hotel; I need a hotel; get me a hotel | city:city! City of the hotel: in {v} ~ nights:small! Number of nights: for {v} nights ~ guests:small Number of guests: with {v} guests
restaurant dinner food | find_restaurant, search_restaurants, restaurants, book_table | Find restaurants in a city; Search for restaurants by cuisine | find a restaurant; where can I eat; look for restaurants; search for a restaurant; show me restaurants; suggest a restaurant | city:city! The city: in {v} ~ cuisine:Italian/French/Chinese/Indian/Mexican! Kind of food: with {v} food, serving {v} food
email mail | send_email, email, mail_send, compose_email | Send an email to a recipient; Sends an email | send an email; write an email; email; mail; send a mail; compose an email | to:email! Address of the recipient: to {v} ~ subject:topic! The subject: about {v}, with the subject {v} ~ body:text The text: saying {v}, that says {v}
message text sms | send_message, send_sms, text_message, message_send | Send a message to a person; Sends a text message | send a message; text; send a text; message; write a message; send an SMS | recipient:person! Who receives it: to {v} ~ text:text! What to say: saying {v}, that says {v}
reminder | create_reminder, set_reminder, add_reminder, remind_me | Create a reminder; Sets a reminder at a time | set a reminder; remind me; create a reminder; add a reminder; I need a reminder; make a reminder | text:text! What to be reminded of: saying {v}, that {v} ~ time:time! When: at {v}
alarm wake | set_alarm, alarm_set, create_alarm, wake_me | Set an alarm; Sets an alarm clock | set an alarm; wake me up; create an alarm; alarm; put an alarm; I need an alarm | time:time! When it rings: at {v}, for {v}
timer countdown | set_timer, start_timer, timer | Start a timer; Sets a timer for some minutes | set a timer; start a timer; timer; begin a timer; run a timer; start a countdown | minutes:small! How many minutes: for {v} minutes, of {v} minutes
meeting event calendar | create_event, schedule_meeting, add_event, calendar_create | Create a calendar event; Schedules a meeting | schedule a meeting; create an event; add a meeting; plan a meeting; set up a meeting; put an event in my calendar | title:word! Name of the event: called {v}, named {v} ~ date:date! The day: on {v} ~ time:time Start: at {v}
stock price share | get_stock_price, stock_price, stock_quote, lookup_stock | Get the current price of a stock; Price of a share | what is the stock price; get the price; how much is the stock; show me the share price; check the stock; what does a share cost | symbol:ticker! Ticker symbol: of {v}, for {v}
currency exchange convert | convert_currency, currency_convert, exchange, currency_converter | Convert an amount from one currency to another; Converts money | convert; exchange; change; how much is; what is; turn | amount:number! Amount: {v} ~ from_currency:currency! Currency to convert from: {v}, from {v} ~ to_currency:currency! Currency to convert to: to {v}, into {v}, in {v}
translate translation | translate, translate_text, translator, translation | Translate a text to another language; Translates text | translate; please translate; I want a translation of; can you translate; give me a translation of; put | text:text! The text: {v}, '{v}' ~ target_language:language! Language: to {v}, into {v}
song music | play_song, play_music, music_play, start_song | Play a song; Plays music by title | play; play the song; put on; I want to hear; start the song; listen to | title:word! Name of the song: {v}, called {v} ~ artist:person Who sings: by {v}
search web | web_search, search_web, search, google | Search the web; Looks something up on the internet | search the web; look up; search; google; find something; look on the internet | query:topic! What to search for: for {v}, about {v}
order pizza | order_pizza, pizza_order, buy_pizza | Order a pizza; Orders pizzas for delivery | order a pizza; I want a pizza; get me a pizza; buy a pizza; I'd like a pizza; send me a pizza | size:small/medium/large! Size: in size {v}, size {v} ~ topping:word! What is on it: with {v} ~ count:small How many: {v} times
order status parcel track | get_order_status, track_order, order_status, track_package | Get the status of an order; Track a parcel | where is my order; track my order; what is the status of my order; check the order; track order; get the status of order | order_id:code! Number of the order: {v}, with number {v}
cancel order | cancel_order, order_cancel, delete_order | Cancel an order; Cancels an existing order | cancel my order; cancel order; stop the order; please cancel the order; I want to cancel order; drop order | order_id:code! Number of the order: {v}, with the number {v} ~ reason:text Why: because {v}
account balance money | get_balance, account_balance, check_balance | Get the balance of an account; Balance of a bank account | what is the balance; check the balance; show me the balance; how much money is; get the balance; tell me the balance | account:code! Account number: of account {v}, on account {v}
transfer money pay | transfer_money, send_money, pay, make_payment | Transfer money to a person; Makes a payment | transfer money; send money; pay; make a payment; transfer; wire money | amount:number! How much: of {v}, {v} ~ recipient:person! Who gets it: to {v}
area triangle | triangle_area, area_of_triangle, compute_triangle_area | Calculate the area of a triangle from its base and height; Area of a triangle | what is the area of a triangle; calculate the area of a triangle; find the area of a triangle; compute the triangle area; area of a triangle; work out the area of a triangle | base:number! Length of the base: with base {v}, with a base of {v} ~ height:number! Height: and height {v}, and a height of {v}
area circle radius | circle_area, area_of_circle, circle_get_area | Calculate the area of a circle; Area of a circle from its radius | what is the area of a circle; calculate the area of a circle; find the area of a circle; compute the circle area; area of a circle; how big is a circle | radius:number! The radius: with radius {v}, with a radius of {v}, of radius {v}
factorial | factorial, compute_factorial, get_factorial | Calculate the factorial of a number; Factorial | what is the factorial; calculate the factorial; compute the factorial; find the factorial; factorial; work out the factorial | number:small! The number: of {v}
add sum | add, add_numbers, sum_numbers, sum | Add two numbers; Sum of two numbers | add; what is the sum; sum up; calculate the sum; add up; compute the sum | a:number! First number: of {v}, {v} ~ b:number! Second number: and {v}
speed distance time | calculate_speed, average_speed, speed_get | Calculate the speed from distance and time; Average speed | what is the speed; calculate the speed; how fast is something; find the average speed; compute the speed; work out the speed | distance:number! Distance in km: over {v} km, for a distance of {v} ~ time:number! Time in hours: in {v} hours, and a time of {v}
user profile | get_user, user_info, fetch_user, lookup_user | Get a user's data; Fetch information about a user | who is the user; get the user; show me the user; find the user; look up the user; fetch the user | user_id:code! Id of the user: with id {v}, {v}, number {v}
light lamp | turn_on_light, set_light, light_control, switch_light | Switch a light on or off; Controls a light | switch the light; turn the light; set the light; change the light; put the light; make the light | room:bedroom/kitchen/bathroom/garage/office! Which room: in the {v} ~ state:on/off! On or off: {v}
thermostat heating | set_thermostat, set_temperature, heating_set | Set the temperature of a room; Sets the thermostat | set the thermostat; set the heating; make it warmer; change the temperature; turn the heating; heat the room | degrees:small! Degrees: to {v} degrees, at {v} ~ room:bedroom/kitchen/bathroom/garage/office Which room: in the {v}
taxi ride cab | book_taxi, order_taxi, call_cab, request_ride | Order a taxi; Book a ride | order a taxi; I need a taxi; book a ride; call a cab; get me a taxi; send a taxi | pickup:city! Where it starts: from {v} ~ destination:city! Where it goes: to {v} ~ time:time When: at {v}
distance route map | get_distance, distance_between, route_distance, calculate_distance | Distance between two cities; Calculate the distance between two places | how far is it; what is the distance; calculate the distance; get the distance; find the distance; tell me the distance | from_city:city! Start: from {v} ~ to_city:city! End: to {v}
time clock | get_time, current_time, time_in, get_current_time | Get the current time in a city; Current time | what time is it; tell me the time; what is the time; get the time; current time; how late is it | city:city! The city: in {v}
news headlines | get_news, news, latest_news, fetch_news | Get the latest news on a topic; News | what is the news; get the news; show me the news; what's new; any news; give me the latest news | topic:topic! The topic: about {v}, on {v}
ticket bug issue | create_ticket, open_ticket, create_issue, report_bug | Create a support ticket; Opens an issue | create a ticket; open a ticket; file an issue; report a bug; make a ticket; raise a ticket | title:word! The title: called {v}, with title {v} ~ priority:low/medium/high! Priority: with {v} priority, with priority {v}
file read | read_file, open_file, cat, get_file | Read a file; Returns the content of a file | read the file; open the file; show the file; what is in the file; print the file; show me what is in | path:path! Path of the file: {v}
note list task todo | add_task, create_task, add_note, todo_add | Add a task to the list; Creates a note | add a task; put a task on my list; note; create a task; add a note; new task | title:text! What to do: saying {v}
recipe cook | find_recipe, get_recipe, recipe_search | Find a recipe; Search recipes by ingredient | find a recipe; how do I cook something; give me a recipe; search a recipe; show me a recipe; I need a recipe | ingredient:word! Main ingredient: with {v}, for {v} ~ servings:small For how many: for {v} people
movie film | search_movies, get_movie, movie_info, find_movie | Information about a movie; Search movies by title | find the movie; tell me about the movie; search for the movie; get information on the movie; look up the movie; show the movie | title:word! The title: {v}, called {v} ~ year:year Year: from {v}
population city | get_population, city_population, population | Population of a city; Get the number of inhabitants | what is the population; how many people live; get the population; tell me the population; how big is the population; find the population | city:city! Name of the city: of {v}, in {v}
"""  # noqa: E501 - a table


def _parameter(text: str) -> Parameter:
    head, _, phrases = text.strip().rpartition(": ")
    if head.endswith(" :") or not head:  # a phrase that begins with a colon
        head, phrases = head.removesuffix(" :"), ": " + phrases
    described, _, description = head.partition(" ")
    name, _, kind = described.partition(":")
    return Parameter(name, kind.removesuffix("!"), kind.endswith("!"), description, tuple(phrases.split(", ")))


def _domain(line: str) -> Domain:
    about, names, descriptions, heads, parameters = (part.strip() for part in line.split(" | "))
    return Domain(
        about,
        tuple(names.split(", ")),
        tuple(descriptions.split("; ")),
        tuple(heads.split("; ")),
        tuple(map(_parameter, parameters.split(" ~ "))),
    )


DOMAINS = tuple(_domain(line) for line in _LINES.strip().splitlines())
