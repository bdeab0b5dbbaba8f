"""Functions as libraries and web services document them, by topic: one line each, whole lines held out.

    family | goal; other ways to say it | parameters, as in demo.training.domains

The family gives the words around the goal. A kind that begins with `=` lists values that the declaration only mentions
as examples; a line in it stands for a blank. Descriptions of parameters are written so that "The" can stand before them.
"""

# ruff: noqa: E501 - tables

from dataclasses import dataclass

from demo.training.domains import Parameter, parameter


@dataclass(frozen=True)
class Family:
    """How functions of one family are named, described and asked for; {g} is the goal."""

    verbs: tuple[str, ...]
    descriptions: tuple[str, ...]
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A function of the library."""

    topic: str
    family: Family
    goals: tuple[str, ...]
    parameters: tuple[Parameter, ...]


FAMILIES = {
    "calc": Family(
        ("calculate", "compute", "get", "find", "calc", ""),
        ("Calculate the {g}", "Calculates the {g}", "Compute the {g}", "Computes the {g}", "Find the {g}", "Returns the {g}"),
        ("calculate the {g}", "what is the {g}", "find the {g}", "compute the {g}", "tell me the {g}", "determine the {g}",
         "what's the {g}", "I need the {g}", "what would be the {g}", "find out the {g}", "give me the {g}", "work out the {g}",
         "I want to know the {g}", "what will the {g} be", "get the {g}", "help me calculate the {g}", "how much is the {g}", "figure out the {g}"),
    ),
    "get": Family(
        ("get", "fetch", "retrieve", "find", "lookup", ""),
        ("Get the {g}", "Retrieve the {g}", "Fetches the {g}", "Returns the {g}", "Look up the {g}", "Retrieves the {g}"),
        ("get the {g}", "what is the {g}", "find the {g}", "show me the {g}", "tell me the {g}", "look up the {g}",
         "what's the {g}", "I want to know the {g}", "give me the {g}", "check the {g}", "I need the {g}", "retrieve the {g}",
         "find out the {g}", "let me know the {g}", "fetch the {g}", "can you get me the {g}", "I would like to see the {g}", "display the {g}"),
    ),
    "search": Family(
        ("search", "find", "list", "recommend", "get", ""),
        ("Search for {g}", "Find {g}", "Finds {g}", "Searches for {g}", "Recommend {g}", "Returns a list of {g}"),
        ("find {g}", "search for {g}", "look for {g}", "show me {g}", "find me {g}", "are there any {g}",
         "I need {g}", "recommend {g}", "I am looking for {g}", "list {g}", "get me {g}", "what are some {g}",
         "I want {g}", "suggest {g}", "can you find {g}", "help me find {g}", "which {g} are there", "give me a list of {g}"),
    ),
    "make": Family(
        ("create", "make", "add", "new", "generate", "set_up"),
        ("Create {g}", "Creates {g}", "Make {g}", "Add {g}", "Generates {g}", "Sets up {g}"),
        ("create {g}", "make {g}", "I need {g}", "set up {g}", "add {g}", "prepare {g}",
         "please make {g}", "I want {g}", "generate {g}", "I want to create {g}", "build {g}", "could you set up {g}",
         "let us make {g}", "I would like {g}", "help me create {g}", "put together {g}", "can I have {g}", "I want to add {g}"),
    ),
    "book": Family(
        ("book", "reserve", "order", "schedule", "make_booking_of", "request"),
        ("Book {g}", "Reserve {g}", "Books {g}", "Reserves {g}", "Makes a reservation of {g}", "Order {g}"),
        ("book {g}", "reserve {g}", "I need {g}", "book me {g}", "order {g}", "get me {g}",
         "I want to book {g}", "please reserve {g}", "I would like {g}", "make a reservation for {g}", "arrange {g}", "schedule {g}",
         "help me book {g}", "can I get {g}", "find and book {g}", "I want {g}", "I am looking to book {g}", "set up {g}"),
    ),
    "do": Family(("",), ("{g}",), ("{g}",)),  # the goal is a whole order
}  # fmt: skip

_LINES = {
    "geometry": """
calc | area of a triangle | base:measure! base of the triangle: with a base of {v} meters, with base {v}, with a base of {v} ~ height:measure! height of the triangle: with a height of {v} meters, with height {v} ~ unit:=meters/feet/cm unit of measurement: in {v}
calc | area of a circle; circle's area | radius:measure! radius of the circle: with a radius of {v} units, with radius {v}, with a radius of {v} cm ~ precision:small number of decimal places: rounded to {v} decimals
calc | circumference of a circle; perimeter of a circle | radius:measure! radius of the circle: with a radius of {v}, with radius {v} inches ~ unit:=inches/cm/meters unit of the radius: in {v}
calc | area of a rectangle | length:measure! length of the rectangle: with a length of {v}, with length {v} meters ~ width:measure! width of the rectangle: with a width of {v}, with width {v} meters
calc | perimeter of a square; square's perimeter | side:measure! length of a side: with sides of {v} cm, with side {v}, with a side of {v} units
calc | volume of a sphere | radius:measure! radius of the sphere: with a radius of {v} meters, with radius {v} ~ unit:=liters/cubic_meters/gallons unit of the volume: in {v}
calc | volume of a cone | radius:measure! radius of the base: with a base radius of {v}, with radius {v} ~ height:measure! height of the cone: with a height of {v}, and {v} high
calc | volume of a box | length:measure! length of the box: with length {v}, {v} long ~ width:measure! width of the box: with width {v}, {v} wide ~ height:measure! height of the box: with height {v}, {v} high
calc | surface area of a cylinder | radius:measure! radius of the cylinder: with radius {v}, with a radius of {v} cm ~ height:measure! height of the cylinder: with height {v}, with a height of {v} cm ~ closed:flag whether both ends are closed: x
calc | distance between two points | point_a:numbers! coordinates of the first point: from {v}, from the point {v} ~ point_b:numbers! coordinates of the second point: to {v}, to the point {v}
calc | diagonal of a screen; screen diagonal | width:measure! width of the screen: with a width of {v}, {v} wide ~ height:measure! height of the screen: with a height of {v}, {v} high
calc | midpoint of a segment | start:numbers! first end of the segment: from {v} ~ end:numbers! second end of the segment: to {v}
""",
    "math": """
calc | factorial of a number; factorial | number:small! number to take the factorial of: of {v}, for {v}, of the number {v}
calc | greatest common divisor of two numbers; gcd | first:large! first number: of {v}, for {v} ~ second:large! second number: and {v}
calc | least common multiple of two numbers; lcm | num1:small! first number: of {v}, for {v} ~ num2:small! second number: and {v}
calc | roots of a quadratic equation | a:small! coefficient of x squared: with a = {v}, where a is {v} ~ b:small! coefficient of x: b = {v}, with b = {v} ~ c:small! constant term: c = {v}, and c = {v}
calc | derivative of a function | function:formula! function to differentiate: of {v}, of the function {v} ~ variable:=x/y/t variable of the function: with respect to {v} ~ order:small order of the derivative: of order {v}
calc | integral of a function; definite integral | expression:formula! function to integrate: of {v}, of the function {v} ~ lower:small! lower bound: from {v}, from x = {v} ~ upper:small! upper bound: to {v}, to x = {v}
calc | standard deviation of some numbers; standard deviation | values:numbers! numbers to use: of {v}, for the values {v} ~ sample:flag whether the numbers are a sample: x
calc | median of some numbers; median | numbers:numbers! numbers to use: of {v}, for the numbers {v}
calc | mode of some data; most frequent value | data:numbers! list of numbers: of {v}, in the list {v}
calc | binomial probability; probability of success | trials:small! number of trials: in {v} trials, with {v} trials ~ successes:small! number of successes: of {v} successes, for {v} successes ~ p:fraction! probability of one success: at a probability of {v}, with p = {v}
calc | dot product of two vectors | first_vector:numbers! first vector: of {v}, of the vector {v} ~ second_vector:numbers! second vector: and {v}, with {v}
calc | logarithm of a number | x:large! number whose logarithm is taken: of {v} ~ base:small base of the logarithm: to the base {v}, with base {v}
do | find the prime factors of a number; factorize; factor | number:large! number to factorize: {v}, of {v} ~ unique:flag whether each factor is listed once: x
do | generate the fibonacci sequence; list the fibonacci numbers; make a fibonacci series | terms:small! number of terms: up to {v} terms, with {v} terms, of length {v} ~ start:small first number: starting at {v}, starting from {v}
do | sort a list of numbers; sort; put in order | items:numbers! numbers to sort: {v}, of {v} ~ direction:ascending/descending direction of sorting: in {v} order
do | convert a number to another base; convert; write | number:large! number to convert: {v}, the number {v} ~ to_base:small! base to convert to: to base {v}, in base {v}
""",
    "finance": """
calc | compound interest; interest with compounding | principal:money! amount invested: on {v}, for an investment of {v} ~ rate:percent! annual interest rate: at a rate of {v}, at {v}, at an annual interest rate of {v} ~ years:count! number of years: for {v} years, over {v} years ~ times_per_year:small number of times interest is added a year: compounded {v} times a year
calc | monthly payment of a mortgage; mortgage payment | loan_amount:money! amount of the loan: of {v}, for a loan of {v} ~ interest_rate:percent! yearly interest rate: at {v}, with an interest rate of {v} ~ loan_term:count! term of the loan in years: for {v} years, over {v} years
calc | future value of an investment | present_value:money! present value of the investment: of {v}, worth {v} ~ annual_rate:percent! annual rate of return: with an annual return of {v}, growing {v} a year ~ years:count! number of years: after {v} years, in {v} years
calc | return on investment; ROI | cost:money! cost of the investment: with a cost of {v}, that cost {v} ~ gain:money! gain of the investment: with a gain of {v}, with a return of {v}
calc | break even point | fixed_costs:money! fixed costs: with fixed costs of {v} ~ price:money! price of one unit: with a price of {v}, selling at {v} ~ unit_cost:money! cost of one unit: with a unit cost of {v}
calc | income tax; tax | income:money! yearly income: for an income of {v}, on {v} ~ country:country country of residence: in {v} ~ status:single/married filing status: as {v}
get | stock price of a company; share price | company:company! name of the company: of {v}, for {v} ~ days:count number of past days: over the last {v} days, for the past {v} days ~ exchange:=NASDAQ/NYSE/LSE stock exchange: on the {v}, on {v}
get | exchange rate of two currencies; exchange rate | base_currency:currency! currency to convert from: from {v} ~ target_currency:currency! currency to convert to: to {v} ~ date:date date of the rate: on {v}
get | dividend of a company; dividend | company:company! name of the company: of {v}, paid by {v} ~ year:year year of the payment: in {v}, for {v}
do | transfer money between accounts; move money; send funds | from_account:code! account to take the money from: from account {v}, from {v} ~ to_account:code! account to send the money to: to account {v}, to {v} ~ amount:money! amount to transfer: in the amount of {v}, of {v}
make | a monthly budget; budget | income:money! monthly income: for an income of {v} ~ savings_goal:money amount to save: saving {v} ~ categories:wordlist categories of spending: with the categories {v}
do | split an expense among people; split the cost; divide the bill | total:money! total of the expense: of {v} ~ people:count! number of people: among {v} people, between {v} friends
""",
    "physics": """
calc | final speed of a falling object; speed of a falling object | height:measure! height of the fall in meters: dropped from {v} meters, from a height of {v} ~ initial_speed:measure speed at the start: with an initial speed of {v} ~ gravity:measure acceleration of gravity: with gravity {v}
calc | kinetic energy of an object; kinetic energy | mass:measure! mass of the object: with a mass of {v} kg, of {v} kg ~ velocity:measure! velocity of the object: moving at {v} m/s, with a velocity of {v}
calc | gravitational force between two objects; gravitational force | mass1:measure! mass of the first object: between {v} kg, with the first mass {v} ~ mass2:measure! mass of the second object: and {v} kg, with the second mass {v} ~ distance:measure! distance between the objects: at a distance of {v} meters, {v} meters apart
calc | density of a substance; density | mass:measure! mass of the substance: with a mass of {v} ~ volume:measure! volume of the substance: with a volume of {v} ~ unit:=kilograms/grams unit of the density: in {v}
calc | electric current; current in a circuit | voltage:measure! voltage of the circuit: with {v} volts, at {v} volts ~ resistance:measure! resistance of the circuit: with a resistance of {v} ohms, over {v} ohms
calc | frequency of a wave; wave frequency | wavelength:measure! length of the wave: with a wavelength of {v}, of wavelength {v} ~ speed:measure speed of the wave: at a speed of {v}
calc | momentum of a body; momentum | mass:measure! mass of the body: of {v} kg, with mass {v} ~ speed:measure! speed of the body: at {v} m/s, with speed {v}
calc | boiling point of a liquid | liquid:word! name of the liquid: of {v}, for {v} ~ pressure:measure air pressure: at a pressure of {v}
calc | half life of a material; remaining amount of a material | initial_amount:measure! amount at the start: with {v} grams, starting at {v} grams ~ half_life:measure! time in which half is gone: with a half life of {v} years ~ elapsed:measure! time that went by: after {v} years
""",
    "travel": """
search | flights between two cities; flights | from_city:place! city of departure: from {v}, leaving from {v} ~ to_city:place! city of arrival: to {v}, going to {v} ~ date:longdate! date of the flight: on {v}, for {v} ~ seat_class:economy/business/first class of the seat: in {v} class, in {v}
book | a hotel room; a room | hotel:company! name of the hotel: at {v}, in the {v} hotel ~ check_in:longdate! date of arrival: from {v}, starting {v} ~ nights:count! number of nights: for {v} nights ~ room_type:=single/double/suite kind of room: as a {v}
search | hotels in a city; hotels | city:place! city to search in: in {v} ~ stars:small! smallest number of stars: with {v} stars, with at least {v} stars ~ amenities:wordlist wanted amenities: with {v}
calc | driving distance between two cities; distance by car | origin:place! start of the route: from {v}, between {v} ~ destination:place! end of the route: to {v}, and {v} ~ unit:km/miles unit of the distance: in {v}
calc | fuel cost of a trip; cost of fuel | distance:large! length of the trip: for {v} miles, for a trip of {v} miles ~ fuel_price:money! price of fuel: at {v} per gallon, at a price of {v} ~ consumption:measure! fuel used per distance: with a consumption of {v}, using {v} per 100 miles
get | local time in a city; current time | city:place! name of the city: in {v}, for {v} ~ format:=12_hour/24_hour format of the time: in {v} format
search | tourist attractions in a city; sights; things to see | city:place! city of the attractions: in {v} ~ kind:=museum/park/monument kind of attraction: of the kind {v} ~ limit:count largest number of results: at most {v}, up to {v}
get | visa requirements for a country; visa rules | nationality:country! country of the passport: for people from {v}, for citizens of {v} ~ destination:country! country to travel to: going to {v}, to enter {v}
book | a taxi ride; a cab | pickup:place! place of pickup: from {v} ~ dropoff:place! place to go to: to {v} ~ passengers:count number of passengers: for {v} people, for {v} passengers ~ time:time time of pickup: at {v}
get | public transport route; bus route | start:place! place to start: from {v} ~ end:place! place to arrive: to {v} ~ mode:bus/train/subway kind of transport: by {v}
book | a rental car; a car | city:place! city of the pickup: in {v} ~ days:count! number of days: for {v} days ~ car_type:=sedan/suv/van kind of car: of the type {v}, as a {v}
get | traffic situation on a road; traffic | road:word! name of the road: on {v}, on {v} street ~ city:place! city of the road: in {v} ~ alternatives:flag whether to show other routes: x
""",
    "food": """
search | recipes with an ingredient; recipes | ingredient:word! main ingredient: with {v}, using {v} ~ diet:=vegan/vegetarian/keto diet to follow: for a {v} diet, that are {v} ~ max_time:count longest cooking time in minutes: in under {v} minutes, within {v} minutes
search | restaurants near a place; restaurants | location:place! place to search near: in {v}, near {v} ~ cuisine:=Italian/Thai/Mexican/Japanese kind of food: with {v} food, serving {v} food ~ price:=cheap/moderate/expensive price range: that are {v}
get | calories of a meal; nutrition facts | dish:word! name of the dish: of {v}, in {v} ~ grams:large weight of the dish: for {v} grams ~ vitamins:flag whether to include vitamins: x
book | a table at a restaurant; a table | restaurant:company! name of the restaurant: at {v} ~ people:count! number of guests: for {v} people, for {v} guests ~ time:time! time of the reservation: at {v} ~ date:longdate date of the reservation: on {v}
book | a pizza; a pizza delivery | size:small/medium/large! size of the pizza: in size {v}, {v} sized ~ toppings:wordlist! toppings of the pizza: with {v} ~ address:streetaddress address of delivery: to {v}
do | convert a cooking measure; convert; change the measure | amount:measure! amount to convert: of {v}, {v} ~ from_unit:=cups/spoons/grams! unit to convert from: from {v} ~ to_unit:=liters/ounces/pounds! unit to convert to: to {v}, into {v}
make | a shopping list; grocery list | items:wordlist! things to buy: with {v}, of {v} ~ store:company name of the store: for {v}
search | wines for a meal; wine | dish:word! dish to drink it with: for {v}, that go with {v} ~ color:red/white/rose color of the wine: in {v} ~ budget:money highest price: under {v}, below {v}
""",
    "sports": """
get | score of a match; result of the game | team:company! name of the team: of {v}, for {v} ~ date:longdate date of the match: on {v} ~ league:=NBA/NFL/NHL league of the team: in the {v}
get | ranking of a team; league position | team:company! name of the team: of {v} ~ season:year! season of the ranking: in {v}, in the {v} season ~ league:company league of the team: in the {v} league
get | statistics of a player; player statistics | player:person! name of the player: of {v}, for {v} ~ season:year season of the statistics: in {v}, for the {v} season ~ team:company team of the player: at {v}
get | schedule of a team; next games | team:company! name of the team: of {v}, for {v} ~ games:count! number of games: for the next {v} games ~ location:=home/away place of the games: played {v}
calc | calories burned in a workout; burned calories | activity:=running/swimming/cycling! kind of sport: by {v}, for {v} ~ minutes:count! duration in minutes: for {v} minutes ~ weight:large weight of the person: at a weight of {v} pounds, weighing {v} kg
make | a training plan; workout plan | goal:=strength/endurance/speed! goal of the plan: for {v} ~ days_per_week:count! number of days a week: on {v} days a week, with {v} days a week ~ equipment:wordlist equipment at hand: with {v}
search | tickets for a game; game tickets | team:company! name of the team: of {v}, for {v} ~ quantity:count! number of tickets: for {v} people, and I want {v} of them ~ max_price:money highest price of a ticket: under {v}
calc | winning percentage of a team; percentage of wins | wins:small! number of games won: with {v} wins ~ losses:small! number of games lost: and {v} losses, with {v} losses
""",
    "science": """
get | atomic weight of an element; atomic mass | element:word! name of the element: of {v}, for {v} ~ decimals:small number of decimals: with {v} decimals
get | structure of a protein; protein structure | protein:word! name of the protein: of {v}, called {v} ~ species:=human/mouse/yeast species of the protein: in {v} ~ model_3d:flag whether to return a 3d model: x
get | function of a gene; gene function | gene:ticker! symbol of the gene: of {v}, for {v} ~ organism:=human/mouse/fly organism of the gene: in the {v}
calc | population growth of a species; growth of a population | current_population:large! number of animals now: of {v}, starting at {v} ~ growth_rate:percent! growth rate per year: growing at {v}, with a growth rate of {v} ~ years:count! number of years: after {v} years, over {v} years
get | magnitude of an earthquake; earthquake magnitude | place:place! place of the earthquake: in {v}, near {v} ~ date:longdate! date of the earthquake: on {v} ~ depth:flag whether to include the depth: x
get | distance of a planet from the sun; planet distance | planet:=Mars/Venus/Saturn/Jupiter! name of the planet: of {v} ~ unit:=km/miles/au unit of the distance: in {v}
do | identify a plant from its features; identify the plant; which plant is it | leaf:word! shape of the leaves: with {v} leaves ~ flower:colour! color of the flowers: with {v} flowers ~ region:country region where it grows: in {v}
calc | age of a fossil; fossil age | carbon:percent! share of carbon left: with {v} of the carbon left, at {v} carbon ~ method:=carbon/uranium dating method: by {v} dating
do | balance a chemical equation; balance the equation; balance | equation:formula! equation to balance: {v}, for {v} ~ phases:flag whether to show the phases: x
get | emissions of a country; carbon emissions | country:country! name of the country: of {v}, in {v} ~ year:year! year of the emissions: in {v}, for {v} ~ gas:=CO2/methane kind of gas: of {v}
""",
    "history": """
get | date of a historical event; when an event took place | event:phrase! name of the event: of the {v}, of {v} ~ country:country country of the event: in {v} ~ format:=short/long format of the date: in {v} form
get | ruler of a country; king or president | country:country! name of the country: of {v} ~ year:year! year of the rule: in {v}, in the year {v} ~ full_name:flag whether to give the full name: x
get | population of a city in a year; population | city:place! name of the city: of {v}, in {v} ~ year:year! year of the count: in {v}, in the year {v}
search | museums about a subject; museums | subject:topic! subject of the museum: about {v}, on {v} ~ city:place! city of the museum: in {v} ~ open_on:weekday day of the visit: open on {v}
get | inventor of a thing; who invented something | invention:word! name of the invention: of the {v}, of {v} ~ patent:flag whether to give the patent number: x
get | author of a book; writer of the book | title:phrase! title of the book: called {v}, titled {v}, '{v}' ~ year:year year of publication: from {v}
search | paintings by an artist; paintings | artist:person! name of the artist: by {v} ~ style:=cubism/realism/baroque style of the painting: in the style of {v} ~ limit:count largest number of paintings: at most {v}
get | value of an artwork; price of the painting | title:phrase! title of the artwork: of {v}, called {v} ~ artist:person! name of the artist: by {v} ~ year:year year of the valuation: in {v}
""",
    "media": """
search | movies of a genre; films | genre:=comedy/horror/drama/western! genre of the movies: in the genre {v}, of the genre {v} ~ year:year year of release: from {v}, released in {v} ~ rating:measure lowest rating: rated above {v}, with a rating over {v}
search | songs by an artist; songs | artist:person! name of the artist: by {v}, from {v} ~ album:phrase title of the album: from the album {v} ~ count:count number of songs: up to {v}
do | create a playlist of songs; make a playlist; put songs in a playlist | name:phrase! name of the playlist: called {v}, named {v} ~ genre:=rock/jazz/pop/soul! genre of the songs: with {v} music, of {v} songs ~ length:count number of songs: with {v} songs
get | showtimes of a movie; times of the film | movie:phrase! title of the movie: {v}, of {v} ~ location:place! city of the cinema: in {v} ~ date:longdate date of the show: on {v}
search | concerts in a city; concerts | city:place! city of the concert: in {v} ~ month:month! month of the concert: in {v} ~ genre:=rock/jazz/classical genre of the music: with {v} music ~ budget:money highest price of a ticket: under {v}
book | concert tickets; tickets for a concert | artist:person! name of the artist: of {v}, for {v} ~ city:place! city of the concert: in {v} ~ quantity:count! number of tickets: for {v} people ~ section:=front/balcony section of the hall: in the {v}
do | convert a song to another key; transpose a song; change the key of a song | song:phrase! name of the song: {v}, called {v} ~ key:=C_major/A_minor/D_major! key to change to: to {v}, into {v}
search | books about a subject; books | subject:topic! subject of the books: about {v}, on {v} ~ author:person name of the author: by {v} ~ language:language language of the books: in {v}
""",
    "office": """
make | a meeting; a calendar meeting | title:phrase! title of the meeting: called {v}, titled {v}, about {v} ~ date:longdate! date of the meeting: on {v} ~ start_time:time! time of the start: at {v} ~ attendees:people people to invite: with {v}
do | send an email; write an email; email someone | to:email! address of the recipient: to {v} ~ subject:phrase! subject of the email: with the subject {v}, about {v} ~ body:sentence text of the email: saying {v}, that says '{v}' ~ attachments:wordlist files to attach: with the files {v}
make | an invoice for a customer; an invoice | customer:person! name of the customer: for {v} ~ items:wordlist! items to charge: with {v}, for {v} ~ total:money! amount to pay: over {v}, with a total of {v} ~ due_date:longdate date of payment: due on {v}
do | translate a document; translate a text; translate | text:sentence! text to translate: '{v}', the text '{v}' ~ source:language language of the text: from {v} ~ target:language! language to translate to: to {v}, into {v}
do | set a reminder; remind me; create a reminder | message:sentence! what to be reminded of: '{v}', that {v} ~ date:longdate! date of the reminder: on {v} ~ time:time time of the reminder: at {v}
get | revenue of a company; company revenue | company:company! name of the company: of {v}, for {v} ~ year:year! year of the revenue: in {v}, for {v} ~ quarter:=Q1/Q2/Q3/Q4 quarter of the year: in {v}
search | jobs in a city; jobs | title:phrase! title of the job: as {v}, for {v} ~ location:place! city of the job: in {v} ~ remote:flag whether the work is remote: x ~ salary:money lowest salary: paying over {v}
search | lawyers for a case; lawyers | field:=divorce/tax/labor/criminal! field of law: for {v} law, for a {v} case ~ city:place! city of the lawyer: in {v} ~ max_fee:money highest fee per hour: for less than {v} per hour, under {v}
get | details of a court case; court case | case_number:code! number of the case: {v}, with the number {v} ~ court:place court of the case: at the court of {v} ~ full_text:flag whether to return the full text: x
do | update the details of a customer; change a customer's data; edit customer | customer_id:code! id of the customer: {v}, with the id {v} ~ field:=phone/address/name! field to change: to change the {v}, for the field {v} ~ value:phrase! new value: to {v}
""",
    "health": """
calc | body mass index; BMI | weight:large! weight in kilograms: for {v} kg, with a weight of {v} kg ~ height:measure! height in meters: with a height of {v} m, and {v} m ~ unit:=metric/imperial system of units: in {v} units
search | doctors in a city; doctors | specialty:=dentist/surgeon/pediatrics! field of the doctor: for {v}, of the specialty {v} ~ city:place! city of the practice: in {v} ~ language:language language that is spoken: speaking {v}
get | side effects of a drug; side effects | drug:word! name of the drug: of {v}, for {v} ~ age:count age of the patient: at age {v}, for a patient aged {v}
get | lab results of a patient; test results | patient_id:code! id of the patient: of {v}, for patient {v} ~ test:=blood/urine/allergy kind of test: of the {v} test ~ since:longdate first date: since {v}
calc | dose of a medicine; dosage | medicine:word! name of the medicine: of {v} ~ weight:large! weight of the patient: for a weight of {v} kg, for a patient of {v} kg ~ age:count age of the patient: aged {v}
do | record blood pressure; save my blood pressure; log blood pressure | systolic:large! upper value: with {v}, of {v} ~ diastolic:large! lower value: over {v} ~ note:sentence a note: with the note '{v}'
calc | hours of sleep needed; sleep need | age:count! age in years: at age {v}, for someone aged {v} ~ activity:=low/medium/high level of activity: with {v} activity
""",
    "computing": """
do | search for text in files; search the files; look into the files | pattern:word! text to look for: for {v}, for the word {v} ~ folder:folder! folder to search in: in {v} ~ recursive:flag whether to look into folders below: x
do | resize an image; scale an image; make an image smaller | path:path! path of the image: {v}, called {v} ~ width:large! new width in pixels: to a width of {v}, to {v} pixels wide ~ height:large! new height in pixels: and a height of {v}, by {v} pixels high
do | encrypt a file; protect a file | file:path! file to encrypt: {v}, called {v} ~ key:code! key to use: with the key {v}, using {v} ~ algorithm:=AES/RSA algorithm to use: by {v}
get | usage of the disk; disk usage | path:folder! path of the folder: of {v}, for {v} ~ human_readable:flag whether sizes are easy to read: x
do | update rows of a table; change the database; update the database | table:word! name of the table: in the table {v}, in {v} ~ column:word! column to change: setting {v}, for the column {v} ~ value:word! new value: to {v}, to the value {v}
do | deploy an application; roll out the application; deploy | app:word! name of the application: {v}, called {v} ~ environment:production/staging/test! where to deploy: to {v} ~ version:code version to deploy: in version {v}, with version {v} ~ replicas:count number of copies: with {v} replicas
get | weather data of a station; readings of a station | station_id:code! id of the station: {v}, with id {v} ~ metrics:wordlist! values to return: with {v}, for {v} ~ hours:count number of past hours: over the last {v} hours
do | train a classifier; fit a model; train a model | dataset:path! file with the data: on {v}, with {v} ~ target:word! column to predict: to predict {v}, predicting {v} ~ max_depth:small largest depth of the trees: with a maximum depth of {v} ~ estimators:large number of trees: with {v} trees
make | a random password; a password | length:small! number of characters: with {v} characters, of length {v} ~ symbols:flag whether to use symbols: x ~ exclude:word characters not to use: without the characters {v}
make | a user account; an account | username:word! name to log in with: named {v}, for {v}, called {v} ~ email:email! address of the user: with the email {v} ~ role:admin/editor/viewer role of the user: as {v}, with the role {v}
""",
    "home": """
do | set the temperature of a room; heat a room; change the room temperature | room:=kitchen/bedroom/office! room to heat: in the {v}, of the {v} ~ degrees:small! wanted temperature: to {v} degrees, at {v} degrees ~ until:time end of the setting: until {v}
do | turn a lamp on or off; switch a lamp; control the lamp | lamp:word! name of the lamp: called {v}, {v} ~ state:on/off! wanted state: to {v} ~ brightness:small brightness in percent: at {v} percent
make | a timer; a kitchen timer | minutes:count! number of minutes: for {v} minutes, of {v} minutes ~ label:word name of the timer: called {v}
do | start the washing machine; wash the clothes; run the washing machine | program:=cotton/wool/quick! washing program: with the program {v}, on {v} ~ temperature:small! temperature of the water: at {v} degrees ~ delay:count delay in hours: in {v} hours
do | play music in a room; put on music; play music | room:=kitchen/bedroom/garden! room with the speaker: in the {v} ~ artist:person name of the artist: by {v} ~ volume:small volume of the speaker: at volume {v}
search | houses for sale; houses | city:place! city of the house: in {v} ~ bedrooms:count! number of bedrooms: with {v} bedrooms ~ max_price:money highest price: under {v}, below {v} ~ garden:flag whether it needs a garden: x
calc | amount of paint for a wall; paint needed | width:measure! width of the wall: for a wall {v} wide, with a width of {v} feet ~ height:measure! height of the wall: and {v} high, with a height of {v} feet ~ coverage:large! area that a gallon covers: if one gallon covers {v} square feet, with a coverage of {v}
calc | power used by a device; electricity use | watts:large! power of the device: with {v} watts, of {v} watts ~ hours:count! hours of use a day: used {v} hours a day, for {v} hours ~ price:measure price of electricity: at {v} per unit
get | value of a property; estimated property value | address:streetaddress! address of the property: at {v}, of {v} ~ bedrooms:count number of bedrooms: with {v} bedrooms ~ year_built:year year it was built in: built in {v}
""",
}


def _entry(topic: str, line: str) -> Entry:
    family, goals, parameters = (part.strip() for part in line.split(" | "))
    return Entry(topic, FAMILIES[family], tuple(goals.split("; ")), tuple(map(parameter, parameters.split(" ~ "))))


LIBRARY = tuple(_entry(topic, line) for topic, lines in _LINES.items() for line in lines.strip().splitlines())
