"""Simulated people: who they are, how they change over the years, and how one officer or another writes them down.

Nothing about a person depends on what kind of case it is. Every phone number is from the range 07700 900000 to 900999 that Ofcom
keeps for drama (so numbers recur by chance in large sets), e-mail addresses are under example.org, postcodes and
number plates use letters that are never issued.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta

from stalkscreen.schema import Person
from stalkscreen.synthesis.history_settings import PeopleSettings, RecordingSettings
from stalkscreen.synthesis.names import register

_SEX_NAMES = {"f": "female", "m": "male", "x": "non-binary"}
_NEVER_INWARD = "CIKMOV"  # letters never in the second half of a postcode (Royal Mail)
_INWARD = "ABDEFGHJLNPQRSTUWXYZ"
_PLATE = "ABCDEFGHJKLMNOPRSTUVWXY"
_SOUND_ALIKE = (("ph", "f"), ("ie", "y"), ("ck", "k"), ("ou", "u"), ("ee", "ea"), ("ll", "l"), ("tt", "t"), ("ss", "s"))


@dataclass(frozen=True, slots=True)
class Change:
    """From `day` on, these fields of a person read differently (moved house, new number, married name)."""

    day: date
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class SimulatedPerson:
    """A person as they truly are.

    Attributes:
        sex: "f", "m" or "x".
        born: Date of birth.
        background: Name of a background in `people.toml`.
        fields: True values of `stalkscreen.schema.Person` before any change.
        changes: In order of day.
    """

    sex: str
    born: date
    background: str
    fields: dict[str, str]
    changes: tuple[Change, ...]

    def age(self, day: date) -> int:
        """Age in years on a day."""
        return day.year - self.born.year - ((day.month, day.day) < (self.born.month, self.born.day))

    def true_fields(self, day: date) -> dict[str, str]:
        """True values on a day."""
        fields = dict(self.fields)
        for change in self.changes:
            if change.day <= day:
                fields.update(change.fields)
        return fields

    def described(self, day: date) -> dict[str, object]:
        """Demographics for slices and tests, never features."""
        return {"sex": _SEX_NAMES[self.sex], "age": self.age(day), "background": self.background}


def simulate_person(
    rng: random.Random,
    settings: PeopleSettings,
    start: date,
    force: str,
    *,
    adult: bool = False,
    partner_of: SimulatedPerson | None = None,
    kin_of: SimulatedPerson | None = None,
    same_home: bool = False,
) -> SimulatedPerson:
    """Draw a person, with what happens to them in the five years after `start`.

    Args:
        rng: Source of chance.
        settings: Shares of sexes and ages, chances of changes.
        start: Day on which the age is between 12 and 90.
        force: Where they live.
        adult: Whether they are 18 or older.
        partner_of: Somebody whose partner, former or not, this is; their age and sex then matter.
        kin_of: A relative, whose background and often surname are shared.
        same_home: Whether the address is that of `partner_of`.
    """
    names = rng.choices(register().backgrounds, register().shares)[0]
    if kin_of is not None:
        names = next(n for n in register().backgrounds if n.name == kin_of.background)
    sex = rng.choices(("f", "m", "x"), settings.sexes)[0]
    low, high = rng.choices(settings.age_bands, settings.age_shares)[0]
    age = rng.randint(max(low, 18) if adult else low, max(high, 18) if adult else high)
    if partner_of is not None:
        age = round(min(90.0, max(14.0, partner_of.age(start) + rng.gauss(0.0, settings.partners_age_gap))))
        if rng.random() < settings.partners_of_two_sexes:
            sex = {"f": "m", "m": "f"}.get(partner_of.sex, sex)
    born = start - timedelta(days=age * 365 + age // 4 + rng.randrange(1, 364))
    pool = names.female if sex == "f" else names.male if sex == "m" else names.female + names.male
    forename, surname = rng.choice(pool), rng.choice(names.surname)
    fields = {"forename": forename, "surname": surname, "dob": born.isoformat(), "phone": _phone(rng)}
    if kin_of is not None and rng.random() < settings.kin_share_surname:
        fields["surname"] = surname = kin_of.fields["surname"]
    fields |= _address(rng, force)
    if same_home and partner_of is not None:
        fields |= {name: partner_of.fields[name] for name in ("address", "postcode")}
    if rng.random() < settings.has_email:
        fields["email"] = _email(rng, forename, surname)
    if age >= 17 and rng.random() < settings.has_vehicle:
        fields["vehicle_vrm"] = _plate(rng)
    changes = []
    span = 5 * 365
    if rng.random() < settings.moves_house:
        changes.append(Change(start + timedelta(days=rng.randrange(span)), _address(rng, force)))
    if rng.random() < settings.changes_phone:
        changes.append(Change(start + timedelta(days=rng.randrange(span)), {"phone": _phone(rng)}))
    if sex == "f" and age >= 18 and rng.random() < settings.changes_surname:
        married = rng.choice(rng.choices(register().backgrounds, register().shares)[0].surname)
        new = f"{surname}-{married}" if "-" not in surname + married and rng.random() < 0.2 else married
        changes.append(Change(start + timedelta(days=rng.randrange(span)), {"surname": new}))
    return SimulatedPerson(sex, born, names.name, fields, tuple(sorted(changes, key=lambda c: c.day)))


def look_alike(person: SimulatedPerson, other: SimulatedPerson, rng: random.Random) -> SimulatedPerson:
    """A stranger who could be taken for `other`: same surname, a similar forename and a date of birth that nearly agrees.

    Address, phone, e-mail and vehicle stay those of `person`, whose sex and age group must be of the kind wanted.
    """
    year, month, day = other.born.year, other.born.month, other.born.day
    what = rng.randrange(3)
    if what == 0 and day <= 12 and day != month:
        born = date(year, day, month)
    elif what == 1:
        born = date(year + rng.choice((-1, 1)), month, min(day, 28))
    else:
        born = date(year, month, day % 28 + 1)
    fields = dict(person.fields) | {"surname": other.fields["surname"], "dob": born.isoformat()}
    if person.sex == other.sex:
        fields["forename"] = other.fields["forename"]
    if "email" in fields:
        fields["email"] = _email(rng, fields["forename"], fields["surname"])
    kept = tuple(c for c in person.changes if "surname" not in c.fields)
    return SimulatedPerson(person.sex, born, other.background, fields, kept)


def as_recorded(
    person: SimulatedPerson, day: date, rng: random.Random, settings: RecordingSettings, *, keep: int = 3
) -> Person:
    """The person as one officer writes them down on one day.

    Args:
        person: Who it is.
        day: When; later changes are not known yet, and a recent one often not either.
        rng: Source of chance.
        settings: Chance of each slip.
        keep: How many of forename, surname, date of birth, phone and address are left at least.
    """
    known = day - timedelta(days=rng.randrange(60, 800)) if rng.random() < settings.out_of_date else day
    fields = person.true_fields(known)
    identifying = [name for name in ("surname", "forename", "dob", "phone", "address") if name in fields]
    rng.shuffle(identifying)
    for name in [*identifying[keep:], "postcode", "email", "vehicle_vrm"]:
        if rng.random() < settings.missing.get(name, 0.0):
            fields.pop(name, None)
    if "forename" in fields:
        fields["forename"] = _forename(fields, rng, settings)
    if "surname" in fields and rng.random() < settings.typo:
        fields["surname"] = slip(fields["surname"], rng)
    if "dob" in fields:
        fields["dob"] = _dob(fields["dob"], rng, settings)
    if "phone" in fields and rng.random() < settings.spelt_otherwise:
        fields["phone"] = rng.choice((fields["phone"].replace(" ", ""), "+44 " + fields["phone"][1:]))
    for name in ("postcode", "vehicle_vrm"):
        if name in fields and rng.random() < settings.spelt_otherwise:
            fields[name] = rng.choice((fields[name].replace(" ", ""), fields[name].lower()))
    if "address" in fields and rng.random() < settings.spelt_otherwise:
        fields["address"] = fields["address"].replace("Road", "Rd").replace("Street", "St").replace("Flat ", "F")
    if rng.random() < settings.in_capitals:
        fields = {name: value if name in ("email", "dob") else value.upper() for name, value in fields.items()}
    return Person(**fields)


def slip(word: str, rng: random.Random) -> str:
    """A name with one slip of the pen: two letters swapped, one dropped, one doubled, or spelt as it sounds."""
    if len(word) < 3:
        return word
    low = word.lower()
    heard = [(a, b) for pair in _SOUND_ALIKE for a, b in (pair, pair[::-1]) if low.find(a, 1) > 0]
    if heard and rng.random() < 0.5:
        a, b = rng.choice(heard)
        i = low.find(a, 1)
        return word[:i] + b + word[i + len(a) :]
    i = rng.randrange(1, len(word) - 1)
    how = rng.randrange(3)
    if how == 0 and word[i] != word[i + 1]:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + word[i + 1 :] if how == 1 else word[:i] + word[i] + word[i:]


def _forename(fields: dict[str, str], rng: random.Random, settings: RecordingSettings) -> str:
    forename = fields["forename"]
    short = register().nicknames.get(forename)
    if short and rng.random() < settings.nickname:
        other = rng.choice(short)
        if rng.random() < 0.5:
            fields["alias"] = other
            return forename
        return other
    if rng.random() < settings.initial_only:
        return forename[0]
    return slip(forename, rng) if rng.random() < settings.typo else forename


def _dob(born: str, rng: random.Random, settings: RecordingSettings) -> str:
    year, month, day = born.split("-")
    if rng.random() < settings.transposed_date:
        if int(day) <= 12 and day != month:
            day, month = month, day
        elif year.startswith("19") and year[2] != year[3]:
            year = year[:2] + year[3] + year[2]
    elif rng.random() < settings.typo:
        year = str(int(year) + rng.choice((-1, 1)))
    if int(month) == 2 and int(day) > 28:
        day = "28"
    return f"{day}/{month}/{year}" if rng.random() < settings.spelt_otherwise else f"{year}-{month}-{day}"


def _phone(rng: random.Random) -> str:
    return f"07700 900{rng.randrange(1000):03d}"


def _address(rng: random.Random, force: str) -> dict[str, str]:
    known = register()
    area, town = rng.choice(known.forces[force])
    house = f"{rng.randrange(1, 160)} {rng.choice(known.streets)}, {town}"
    if rng.random() < known.flat_share:
        house = f"Flat {rng.randrange(1, 30)}, {house}"
    inward = f"{rng.randrange(10)}{rng.choice(_NEVER_INWARD)}{rng.choice(_INWARD)}"
    return {"address": house, "postcode": f"{area}{rng.randrange(1, 20)} {inward}"}


def _email(rng: random.Random, forename: str, surname: str) -> str:
    plain = "".join(c for c in surname.lower() if c.isascii() and c.isalpha())
    first = forename.lower().replace("-", "")
    style = rng.randrange(3)
    number = rng.randrange(1, 10_000)
    local = f"{first}.{plain}" if style == 0 else f"{first[0]}{plain}" if style == 1 else f"{first}{plain[:2]}"
    return f"{local}{number}@example.org"


def _plate(rng: random.Random) -> str:
    letters = [rng.choice(_PLATE) for _ in range(4)]
    # Q is never in the last group of a plate of this form (DVLA), so that none is anybody's.
    age = rng.choice((*range(10, 26), *range(60, 75)))
    return f"{letters[0]}{letters[1]}{age} {letters[2]}Q{letters[3]}"
